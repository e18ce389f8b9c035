import { test } from "tap";
import { FsError } from "../../../../proto/errno.js";
import { Lab, type Mount, WHO, flags, pattern } from "./lab.js";

/** Requests of this kind wait until the returned function is called, and then fail with what it is given. */
function hold({ meta }: Mount, op: string): (error?: FsError) => void {
  let answer: (error?: FsError) => void = () => {};
  const held = new Promise<FsError | undefined>((resolve) => (answer = resolve));
  meta.before = async (asked) => {
    const error = asked === op ? await held : undefined;
    if (error !== undefined) throw error;
  };
  return answer;
}

const APPEND = { append: true, sync: false };

const WAYS = [
  { op: "open", cut: ({ vfs }: Mount, ino: number) => vfs.open(WHO, ino, flags({ truncate: true })) },
  { op: "setattr", cut: ({ vfs }: Mount, ino: number) => vfs.setattr(WHO, ino, { size: 3 }) },
];

for (const { op, cut } of WAYS) {
  void test(`what was appended has its place before others append, also when a truncation (${op}) is under way that fails`, async (t) => {
    const lab = new Lab();
    const [a, b] = [lab.mount(), lab.mount()];
    const { ino, handle } = await lab.create(a, "f");
    await lab.lookup(b, "f");
    await lab.write(a, handle, 0, Buffer.from("one "));
    await lab.end(a.vfs.fsync(handle));
    await lab.end(a.vfs.write(handle, 4, Buffer.from("two "), APPEND));
    const answer = hold(a, op);
    const cutting = lab.errno(() => cut(a, ino));
    const other = await lab.end(b.vfs.open(WHO, ino, flags({ append: true })));
    await lab.end(b.vfs.write(other.handle, 0, Buffer.from("three"), APPEND));
    answer(new FsError("EIO"));
    t.equal(await cutting, "EIO");
    await lab.close(a, handle);
    t.equal((await lab.content(b, ino)).toString(), "one two three");
  });
}

void test("what was written before a truncation does not come back over what others write while it is under way", async (t) => {
  const lab = new Lab();
  const [a, b] = [lab.mount(), lab.mount()];
  const { ino, handle } = await lab.create(a, "f");
  await lab.lookup(b, "f");
  await lab.write(a, handle, 0, pattern(100, 1));
  await lab.end(a.vfs.fsync(handle));
  await lab.write(a, handle, 0, pattern(100, 2));
  const answer = hold(a, "setattr");
  const cutting = a.vfs.setattr(WHO, ino, { size: 50 });
  const other = await lab.end(b.vfs.open(WHO, ino, flags()));
  await lab.write(b, other.handle, 0, Buffer.from("newer"));
  answer();
  await lab.end(cutting);
  await lab.close(a, handle);
  const expected = Buffer.concat([Buffer.from("newer"), pattern(100, 2).subarray(5, 50)]);
  t.same(await lab.content(b, ino), expected);
});

void test("what is written after a truncation that was done, but seemed to fail, is not cut by it", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { ino, handle } = await lab.create(a, "f");
  await lab.write(a, handle, 0, pattern(100, 1));
  await lab.end(a.vfs.fsync(handle));
  a.meta.after = (op) => {
    if (op === "setattr") throw new FsError("EIO");
  };
  t.equal(await lab.errno(() => a.vfs.setattr(WHO, ino, { size: 10 })), "EIO");
  await lab.write(a, handle, 0, pattern(200, 2));
  await lab.close(a, handle);
  t.same(await lab.content(lab.mount(), ino), pattern(200, 2));
});
