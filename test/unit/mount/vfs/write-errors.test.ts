import { test } from "tap";
import { FsError } from "../../../../proto/errno.js";
import { CHUNK, Lab, type Mount, WHO, flags, pattern } from "./lab.js";

function breakAll(lab: Lab, errno: "EIO" | undefined): void {
  for (const node of lab.nodes.nodes) node.broken = errno;
}

/** A file with 100 stored bytes, open twice, and data on its way that cannot be stored. */
async function failing(
  lab: Lab,
  mount: Mount,
): Promise<{ ino: number; first: number; second: number; stored: Buffer }> {
  const { ino, handle: first } = await lab.create(mount, "f");
  const stored = pattern(100, 1);
  await lab.write(mount, first, 0, stored);
  await lab.end(mount.vfs.fsync(first));
  const { handle: second } = await lab.end(mount.vfs.open(WHO, ino, flags()));
  breakAll(lab, "EIO");
  await lab.write(mount, first, 0, pattern(3 * CHUNK, 2));
  return { ino, first, second, stored };
}

void test("an upload that fails is told once to each open handle, by whichever call comes first", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { ino, first, second } = await failing(lab, a);
  t.equal(await lab.errno(() => a.vfs.fsync(first)), "EIO");
  breakAll(lab, undefined);
  const { handle: third } = await lab.end(a.vfs.open(WHO, ino, flags()));
  t.equal(await lab.errno(() => a.vfs.flush(first)), "", "told once");
  t.equal(await lab.errno(() => a.vfs.write(second, 0, Buffer.from("x"))), "EIO", "the other handle");
  t.equal(await lab.errno(() => a.vfs.write(second, 0, Buffer.from("x"))), "", "told once");
  t.equal(await lab.errno(() => a.vfs.fsync(third)), "", "opened after it had been told");
});

void test("an upload that fails after the last close is told to who opens the file next", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { ino, first, second } = await failing(lab, a);
  void a.vfs.write(first, 0, Buffer.from("once more"));
  await lab.end(a.vfs.release(second));
  t.equal(await lab.errno(() => a.vfs.release(first)), "", "nobody hears a release");
  breakAll(lab, undefined);
  const { handle } = await lab.end(a.vfs.open(WHO, ino, flags()));
  t.equal(await lab.errno(() => a.vfs.flush(handle)), "EIO");
});

void test("bytes that could not be stored are not shown as if they were", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { ino, first, stored } = await failing(lab, a);
  t.equal((await lab.end(a.vfs.getattr(WHO, ino))).attr.size, 3 * CHUNK, "not failed yet");
  t.equal(await lab.errno(() => a.vfs.flush(first)), "EIO");
  breakAll(lab, undefined);
  t.ok(a.kernel.told.includes(`data ${ino}`), "the kernel forgets its pages");
  t.equal((await lab.end(a.vfs.getattr(WHO, ino))).attr.size, 100);
  t.same(await lab.content(a, ino), stored);
  t.same(await lab.content(lab.mount(), ino), stored);
});

void test("a write that waits for memory ends when the data before it is given up", async (t) => {
  const lab = new Lab();
  const a = lab.mount({ dirtyBytes: CHUNK });
  const { handle } = await lab.create(a, "f");
  breakAll(lab, "EIO");
  t.equal(await lab.errno(() => a.vfs.write(handle, 0, pattern(2 * CHUNK, 1))), "EIO");
  breakAll(lab, undefined);
  await lab.write(a, handle, 0, pattern(2 * CHUNK, 2));
  await lab.close(a, handle);
});

void test("a file does not grow over bytes that were lost before anybody was told", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { ino, first, second, stored } = await failing(lab, a);
  await lab.clock.advance(300_000);
  breakAll(lab, undefined);
  t.equal(await lab.errno(() => a.vfs.setattr(WHO, ino, { size: 2 * CHUNK })), "EIO", "nobody knows");
  t.equal(await lab.errno(() => a.vfs.setattr(WHO, ino, { size: 2 * CHUNK }, first)), "EIO", "told");
  t.equal(await lab.errno(() => a.vfs.setattr(WHO, ino, { size: 2 * CHUNK }, second)), "EIO", "the other handle");
  t.same(await lab.content(a, ino), stored);
  t.equal(await lab.errno(() => a.vfs.setattr(WHO, ino, { size: 200 }, first)), "", "told once");
  t.same(await lab.content(a, ino), Buffer.concat([stored, Buffer.alloc(100)]));
});

void test("what follows a range that could not be stored is not stored either, so no hole appears", async (t) => {
  const lab = new Lab({ seed: 5 });
  const a = lab.mount();
  const { ino, handle } = await lab.create(a, "f");
  const real = a.chunks.put.bind(a.chunks);
  // The first slot never gets through, the others do.
  a.chunks.put = (chunk) => (chunk.data.equals(pattern(CHUNK, 1)) ? Promise.reject(new FsError("EIO")) : real(chunk));
  for (let slot = 0; slot < 4; slot++) await lab.write(a, handle, slot * CHUNK, pattern(CHUNK, slot + 1));
  t.equal(await lab.errno(() => a.vfs.flush(handle)), "EIO");
  t.equal(lab.cluster.inode(ino)?.size, 0);
});

void test("a file that cannot be stored does not replace another by rename", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const old = await lab.create(a, "old");
  await lab.write(a, old.handle, 0, Buffer.from("good"));
  await lab.close(a, old.handle);
  const fresh = await lab.create(a, "new");
  await lab.write(a, fresh.handle, 0, pattern(2 * CHUNK, 1));
  breakAll(lab, "EIO");
  const move = { fromDir: 1, intoDir: 1, noReplace: false, exchange: false };
  const names = { fromName: Buffer.from("new").toString() as never, intoName: Buffer.from("old").toString() as never };
  t.equal(await lab.errno(() => a.vfs.rename(WHO, { ...move, ...names })), "EIO");
  breakAll(lab, undefined);
  t.same((await lab.content(a, old.ino)).toString(), "good");
  t.equal(await lab.errno(() => a.vfs.flush(fresh.handle)), "EIO", "the writer is told by its own handle");
  t.equal(await lab.errno(() => a.vfs.rename(WHO, { ...move, ...names })), "");
  t.ok((a.meta.calls.get("fsync") ?? 0) > 0, "the new content is made durable first");
});

void test("a file does not grow by truncation over bytes that could not be stored", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { ino, handle } = await lab.create(a, "f");
  await lab.write(a, handle, 0, pattern(20_000, 1));
  breakAll(lab, "EIO");
  t.equal(await lab.errno(() => a.vfs.setattr(WHO, ino, { size: 100_000 })), "EIO");
  breakAll(lab, undefined);
  t.equal(lab.cluster.inode(ino)?.size, 0);
  t.equal(await lab.errno(() => a.vfs.flush(handle)), "EIO", "the writer is told by its own handle");
});

void test("bytes that could not be stored are not left out of a copy without a word", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { first, stored } = await failing(lab, a);
  const into = await lab.create(a, "copy");
  const copy = () => a.vfs.copyRange({ handle: first, off: 0 }, { handle: into.handle, off: 0 }, 3 * CHUNK);
  t.equal(await lab.errno(copy), "EIO");
  breakAll(lab, undefined);
  t.equal(await lab.end(copy()), 100, "told once");
  t.same(await lab.content(a, into.ino), stored);
});
