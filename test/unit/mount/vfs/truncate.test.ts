import { test } from "tap";
import { CHUNK, Lab, WHO, flags, pattern } from "./lab.js";

/** Puts wait until the returned function is called. */
function holdPuts(lab: Lab): () => void {
  let open = (): void => {};
  lab.nodes.putGate = new Promise((resolve) => {
    open = resolve;
  });
  return () => {
    lab.nodes.putGate = undefined;
    open();
  };
}

void test("D36: bytes that are being uploaded do not come back after a truncation", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { ino, handle } = await lab.create(a, "f");
  const release = holdPuts(lab);
  await lab.write(a, handle, 0, pattern(2 * CHUNK, 1));
  const flushed = a.vfs.flush(handle);
  await lab.end(a.vfs.setattr(WHO, ino, { size: 0 }));
  await lab.write(a, handle, 0, Buffer.from("new"));
  release();
  await lab.end(flushed);
  await lab.end(a.vfs.fsync(handle));
  t.same((await lab.content(a, ino)).toString(), "new");
  t.same((await lab.content(lab.mount(), ino)).toString(), "new");
});

void test("D36: another mount truncates while this one uploads: only what is written afterwards stays", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const b = lab.mount();
  const { ino, handle } = await lab.create(a, "log", { append: true });
  await lab.write(a, handle, 0, pattern(3 * CHUNK, 1));
  await lab.end(a.vfs.fsync(handle));
  const release = holdPuts(lab);
  await lab.write(a, handle, 0, pattern(CHUNK, 2));
  await lab.lookup(b, "log");
  await lab.end(b.vfs.setattr(WHO, ino, { size: 0 }));
  t.equal((await lab.end(a.vfs.getattr(WHO, ino))).attr.size, 0, "the writer sees that its log was emptied");
  await lab.write(a, handle, 0, Buffer.from("after"));
  release();
  await lab.close(a, handle);
  t.same((await lab.content(b, ino)).toString(), "after");
  t.same((await lab.content(a, ino)).toString(), "after");
});

void test("D36: a time that is set explicitly survives the upload of what was written before it", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { ino, handle } = await lab.create(a, "f");
  await lab.clock.advance(1000);
  await lab.write(a, handle, 0, pattern(CHUNK + 10_000, 1));
  const written = (await lab.end(a.vfs.getattr(WHO, ino))).attr.mtime;
  t.same(written, lab.clock.now(), "mtime is when it was written");
  const mtime = { sec: 1234, nsec: 5678 };
  t.same((await lab.end(a.vfs.setattr(WHO, ino, { mtime, atime: mtime }))).attr.mtime, mtime);
  t.same((await lab.end(a.vfs.getattr(WHO, ino))).attr.mtime, mtime, "at once");
  await lab.clock.advance(10_000);
  await lab.close(a, handle);
  t.same(lab.cluster.inode(ino)?.mtime, mtime);
  t.same((await lab.end(a.vfs.getattr(WHO, ino))).attr.mtime, mtime);
});

void test("mtime is when the bytes were written, not when they were stored", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { ino, handle } = await lab.create(a, "f");
  await lab.clock.advance(1000);
  const now = lab.clock.now();
  await lab.write(a, handle, 0, pattern(10_000, 1));
  await lab.clock.advance(60_000);
  await lab.close(a, handle);
  t.same(lab.cluster.inode(ino)?.mtime, now);
});

void test("a file grows by truncation only after what was written before is stored", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { ino, handle } = await lab.create(a, "f");
  await lab.write(a, handle, 0, pattern(50_000, 1));
  const sizes: { size: number; stored: number }[] = [];
  a.meta.after = (op) => {
    const row = lab.cluster.inode(ino);
    if (op === "setattr" || op === "commit") sizes.push({ size: row?.size ?? 0, stored: row?.stored ?? 0 });
  };
  await lab.end(a.vfs.setattr(WHO, ino, { size: 1_000_000 }));
  t.same(sizes, [
    { size: 50_000, stored: 50_000 },
    { size: 1_000_000, stored: 50_000 },
  ]);
});

void test("a write that comes while the file is being truncated is not cut", async (t) => {
  const lab = new Lab({ seed: 4 });
  const a = lab.mount();
  const { ino, handle } = await lab.create(a, "f");
  await lab.write(a, handle, 0, pattern(CHUNK, 1));
  await lab.end(a.vfs.fsync(handle));
  const cut = a.vfs.setattr(WHO, ino, { size: 10 });
  const written = a.vfs.write(handle, 100, Buffer.from("later"));
  await lab.end(cut);
  await lab.end(written);
  await lab.close(a, handle);
  const expected = Buffer.alloc(105);
  pattern(CHUNK, 1).copy(expected, 0, 0, 10);
  expected.write("later", 100);
  t.same(await lab.content(lab.mount(), ino), expected);
});

void test("a file that was emptied and written anew is durable when it is closed", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { ino, handle } = await lab.create(a, "f");
  await lab.write(a, handle, 0, pattern(CHUNK, 1));
  await lab.close(a, handle);
  t.equal(a.meta.calls.get("fsync"), undefined);
  const { handle: again } = await lab.end(a.vfs.open(WHO, ino, flags({ truncate: true })));
  await lab.write(a, again, 0, pattern(CHUNK, 2));
  await lab.close(a, again);
  t.equal(a.meta.calls.get("fsync"), 1);
  t.same(await lab.content(lab.mount(), ino), pattern(CHUNK, 2));
});

void test("so is one that was emptied by its name, while nobody had it open", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { ino, handle } = await lab.create(a, "f");
  await lab.write(a, handle, 0, pattern(CHUNK, 1));
  await lab.close(a, handle);
  await lab.end(a.vfs.setattr(WHO, ino, { size: 0 }));
  for (const expected of [1, 1]) {
    const { handle: again } = await lab.end(a.vfs.open(WHO, ino, flags()));
    await lab.write(a, again, 0, pattern(CHUNK, 2));
    await lab.close(a, again);
    t.equal(a.meta.calls.get("fsync"), expected, "once");
  }
});

void test("closing a copy of the descriptor before anything was written does not make the later close less durable", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { ino, handle } = await lab.create(a, "f");
  await lab.write(a, handle, 0, pattern(CHUNK, 1));
  await lab.close(a, handle);
  const { handle: again } = await lab.end(a.vfs.open(WHO, ino, flags({ truncate: true })));
  // As a shell does for "> f": it makes the descriptor that the program gets, and closes the first.
  await lab.end(a.vfs.flush(again));
  await lab.write(a, again, 0, pattern(CHUNK, 2));
  await lab.close(a, again);
  t.equal(a.meta.calls.get("fsync"), 1);
});
