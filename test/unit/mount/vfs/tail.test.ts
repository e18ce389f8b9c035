import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "tap";
import { settle } from "../../../helpers/fake-clock.js";
import { CHUNK, Lab, type Mount, WHO, flags, runs } from "./lab.js";

/** Bytes from..to of the log, none of them zero. */
function logBytes(from: number, to: number): Buffer {
  return LOG.subarray(from, to);
}

const LOG = Buffer.from(Uint8Array.from({ length: 60 * CHUNK }, (_, at) => ((at * 7 + (at >> 9)) % 255) + 1));

const step = fc.record({ len: fc.oneof(fc.nat(300), fc.nat(5000), fc.nat(CHUNK * 2)), fsync: fc.boolean() });

interface Reader {
  readonly mount: Mount;
  readonly ino: number;
  readonly handle: number;
}

/**
 * As a program that follows the log does it: it learns the size in some way, then reads up to it. As the kernel does it,
 * a short answer below a size that it was told since would be filled up with zeros.
 */
async function follow(reader: Reader, lab: Lab, isOver: () => boolean): Promise<number> {
  const { vfs } = reader.mount;
  let seen = 0;
  while (!isOver()) {
    const before = (await vfs.getattr(WHO, reader.ino)).attr.size;
    assert.ok(before >= seen, "the log never gets shorter");
    const off = Math.max(0, before - lab.chance.below(CHUNK * 2));
    const bytes = await vfs.read(reader.handle, off, 128 * 1024);
    assert.ok(off + bytes.length >= before, `size ${before} was told, read ends at ${off + bytes.length}`);
    assert.ok(bytes.equals(logBytes(off, off + bytes.length)), `bytes from ${off} on were written like this`);
    seen = off + bytes.length;
    await settle(1);
  }
  return seen;
}

test("what is written past the kernel's pages is answered when the kernel has given up those that it may have there", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { ino, handle } = await lab.create(a, "log", { append: true });
  await lab.write(a, handle, 0, Buffer.from("one "));
  t.strictSame(a.kernel.told, [], "nobody has read: it has no pages");
  const { handle: reader } = await lab.end(a.vfs.open(WHO, ino, flags({ write: false })));
  await lab.end(a.vfs.read(reader, 0, 4096));
  let goOn = (): void => {};
  a.kernel.gate = new Promise((resolve) => (goOn = resolve));
  let isAnswered = false;
  const write = lab.write(a, handle, 4, Buffer.from("two ")).then(() => (isAnswered = true));
  await settle(40);
  t.strictSame(a.kernel.told, [`data ${ino}`]);
  t.notOk(isAnswered);
  goOn();
  await write;
});

test("a size that comes from what was written past the kernel's pages is shown by the kernel and not kept", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { ino, handle } = await lab.create(a, "log", { append: true });
  const { kernel, vfs } = a;
  const asked = async () => {
    kernel.told.length = 0;
    const { attr } = await lab.end(vfs.getattr(WHO, ino));
    return { size: attr.size, told: [...kernel.told] };
  };
  t.strictSame(await asked(), { size: 0, told: [] });
  await lab.write(a, handle, 0, Buffer.from("one "));
  t.strictSame(await asked(), { size: 4, told: [`attributes ${ino}`] });
  // The kernel's own cut is what it knows.
  await lab.end(vfs.setattr(WHO, ino, { size: 2 }));
  t.strictSame(await asked(), { size: 2, told: [] });
  await lab.write(a, handle, 2, Buffer.from("two "));
  t.strictSame(await asked(), { size: 6, told: [`attributes ${ino}`] });
  await lab.close(a, handle);
  t.strictSame(await asked(), { size: 6, told: [] }, "everything was taken in");
});

test("the end of an append that is not where the kernel has meant it to be is kept as the kernel hears it", async (t) => {
  for (const isShared of [false, true]) {
    const lab = new Lab();
    const [a, b] = [lab.mount(), lab.mount()];
    const { ino, handle } = await lab.create(a, "log", { append: true });
    await lab.write(a, handle, 0, Buffer.from("one "));
    // Another mount makes it longer; the kernel of this one has not heard of that.
    const { handle: other } = await lab.end(b.vfs.open(WHO, ino, flags({ write: true })));
    await lab.end(b.vfs.setattr(WHO, ino, { size: 10 }, other));
    if (!isShared) await lab.close(b, other);
    const { kernel, vfs } = a;
    kernel.told.length = 0;
    await lab.write(a, handle, 4, Buffer.from("two "));
    t.strictSame(kernel.told, [`data ${ino}`], "what it has put elsewhere it has given up");
    const { attr } = await lab.end(vfs.getattr(WHO, ino));
    t.equal(attr.size, 14);
    t.strictSame(kernel.told, [`data ${ino}`], "and nothing that makes it forget what it hears");
  }
});

void test("D1, D2: who follows a growing file sees a prefix of it, never zeros", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.nat(),
      fc.array(step, { minLength: 3, maxLength: 25 }),
      fc.boolean(),
      async (seed, steps, uncached) => {
        const lab = new Lab({ seed });
        const a = lab.mount({ dirtyBytes: 3 * CHUNK });
        const { ino, handle } = await lab.create(a, "log", { append: true });
        const readers: Reader[] = [];
        for (const mount of [lab.mount(), lab.mount({ cacheBytes: 0 })]) {
          await lab.lookup(mount, "log");
          mount.meta.uncached = uncached;
          const opened = await lab.end(mount.vfs.open(WHO, ino, flags({ write: false })));
          readers.push({ mount, ino, handle: opened.handle });
        }
        let isOver = false;
        const following = readers.map((reader) => follow(reader, lab, () => isOver));
        let end = 0;
        const writing = async (): Promise<void> => {
          for (const { len, fsync } of steps) {
            await a.vfs.write(handle, end, logBytes(end, end + len));
            end += len;
            if (fsync) await a.vfs.fsync(handle);
            // A slow node, a lost one.
            for (const node of lab.nodes.nodes) node.broken = lab.chance.happens(0.1) ? "EIO" : undefined;
            if (lab.nodes.nodes.filter((node) => node.broken !== undefined).length > 1) {
              for (const node of lab.nodes.nodes) node.broken = undefined;
            }
          }
          for (const node of lab.nodes.nodes) node.broken = undefined;
          await a.vfs.flush(handle);
          isOver = true;
        };
        await lab.end(Promise.all([writing(), ...following]).then(() => undefined));
        for (const { mount } of readers) assert.deepEqual(await lab.content(mount, ino), logBytes(0, end));
      },
    ),
    runs(15),
  );
});
