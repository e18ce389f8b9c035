import { test } from "tap";
import { SlotMap } from "../../../../mount/vfs/reader/slot-map.js";
import type { Attr } from "../../../../proto/gen/bigfs/v1/meta.js";
import { settle } from "../../../helpers/fake-clock.js";
import { CHUNK, Lab, type Mount, WHO, flags, pattern } from "./lab.js";

const KERNEL = 16 * 1024;

async function stored(lab: Lab, mount: Mount, chunks: number): Promise<number> {
  const { ino, handle } = await lab.create(mount, "f");
  await lab.write(mount, handle, 0, pattern(chunks * CHUNK, 1));
  await lab.close(mount, handle);
  return ino;
}

void test("a sequential reader gets each chunk once, ahead of its reads, within its memory", async (t) => {
  const lab = new Lab();
  const chunks = 40;
  const ino = await stored(lab, lab.mount({ dirtyBytes: 100 * CHUNK }), chunks);
  const b = lab.mount({ cacheBytes: 16 * CHUNK });
  await lab.lookup(b, "f");
  const { handle } = await lab.end(b.vfs.open(WHO, ino, flags({ write: false })));
  const expected = pattern(chunks * CHUNK, 1);
  let waits = 0;
  for (let off = 0; off < chunks * CHUNK; off += KERNEL) {
    const answer = b.vfs.read(handle, off, KERNEL);
    if (answer instanceof Promise) waits += 1;
    if (!Buffer.from(await lab.end(answer)).equals(expected.subarray(off, off + KERNEL))) t.fail(`at ${off}`);
    await settle(20);
    const cached = await b.registry.getSingleMetricAsString("bigfs_mount_cache_bytes");
    if (Number(/bytes (\d+)$/m.exec(cached)?.[1]) > 16 * CHUNK) t.fail("the cache is too big");
  }
  t.equal(lab.nodes.gets, chunks);
  t.equal(lab.nodes.bytesGot, chunks * CHUNK);
  t.ok(waits < chunks / 4, `${waits} reads had to wait`);
});

void test("readers of one chunk at the same time fetch it once", async (t) => {
  const lab = new Lab();
  const ino = await stored(lab, lab.mount(), 1);
  const b = lab.mount();
  await lab.lookup(b, "f");
  const opened = await Promise.all([1, 2, 3, 4].map(() => lab.end(b.vfs.open(WHO, ino, flags({ write: false })))));
  const answers = opened.map(({ handle }) => b.vfs.read(handle, 0, KERNEL));
  for (const answer of answers) t.same(Buffer.from(await lab.end(answer)), pattern(KERNEL, 1));
  t.equal(lab.nodes.gets, 1);
});

void test("a reader that jumps about fetches little more than what it asks for", async (t) => {
  const chunkSize = 1024 * 1024;
  const lab = new Lab({ chunkSize });
  const a = lab.mount({ dirtyBytes: 64 * chunkSize });
  const { ino, handle } = await lab.create(a, "f");
  for (let slot = 0; slot < 8; slot++) await lab.write(a, handle, slot * chunkSize, pattern(chunkSize, slot));
  await lab.close(a, handle);
  const b = lab.mount({ cacheBytes: 8 * chunkSize });
  await lab.lookup(b, "f");
  const opened = await lab.end(b.vfs.open(WHO, ino, flags({ write: false })));
  for (const slot of [5, 1, 7, 3, 0, 6]) {
    const seen = await lab.end(b.vfs.read(opened.handle, slot * chunkSize + 300_000, 4096));
    t.same(Buffer.from(seen), pattern(chunkSize, slot).subarray(300_000, 304_096));
  }
  t.equal(lab.nodes.bytesGot, 6 * 65_536);
  await lab.end(b.vfs.read(opened.handle, 3 * chunkSize + 301_000, 4096));
  t.equal(lab.nodes.bytesGot, 6 * 65_536, "and remembers it");
});

void test("slices that were replaced while their chunks are being fetched are looked up again", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const b = lab.mount({ cacheBytes: 0 });
  const ino = await stored(lab, a, 2);
  await lab.lookup(b, "f");
  const opened = await lab.end(b.vfs.open(WHO, ino, flags({ write: false })));
  const real = b.chunks.get.bind(b.chunks);
  let isFirst = true;
  b.chunks.get = async (want) => {
    if (isFirst) {
      isFirst = false;
      const { handle } = await lab.end(a.vfs.open(WHO, ino, flags({ truncate: true })));
      await lab.write(a, handle, 0, pattern(2 * CHUNK, 2));
      await lab.close(a, handle);
      lab.cluster.clean();
    }
    return real(want);
  };
  t.same(Buffer.from(await lab.end(b.vfs.read(opened.handle, 0, CHUNK))), pattern(2 * CHUNK, 2).subarray(0, CHUNK));
});

void test("a chunk that is nowhere is EIO for its range, and soon; the rest of the file reads", async (t) => {
  const lab = new Lab();
  const ino = await stored(lab, lab.mount(), 3);
  const b = lab.mount();
  await lab.lookup(b, "f");
  const { handle } = await lab.end(b.vfs.open(WHO, ino, flags({ write: false })));
  const lost = lab.cluster.rows.of("S")[1]?.[1].slices[0]?.chunk ?? 0;
  for (const node of lab.nodes.nodes) node.chunks.delete(lost);
  const before = lab.clock.monotonicMs();
  t.equal(await lab.errno(() => b.vfs.read(handle, CHUNK, KERNEL)), "EIO");
  t.ok(lab.clock.monotonicMs() - before < 10_000);
  t.same(Buffer.from(await lab.end(b.vfs.read(handle, 0, KERNEL))), pattern(KERNEL, 1));
  t.equal(Buffer.from(await lab.end(b.vfs.read(handle, 2 * CHUNK, KERNEL))).length, KERNEL);
});

void test("a chunk whose nodes are all away is waited for, and is EIO at the deadline", async (t) => {
  const lab = new Lab();
  const ino = await stored(lab, lab.mount(), 1);
  const b = lab.mount();
  await lab.lookup(b, "f");
  const { handle } = await lab.end(b.vfs.open(WHO, ino, flags({ write: false })));
  for (const node of lab.nodes.nodes) node.broken = "ETIMEDOUT";
  const read = b.vfs.read(handle, 0, KERNEL);
  await lab.clock.advance(20_000);
  for (const node of lab.nodes.nodes) node.broken = undefined;
  t.same(Buffer.from(await lab.end(read)), pattern(KERNEL, 1));
  for (const node of lab.nodes.nodes) node.broken = "ETIMEDOUT";
  const c = lab.mount();
  await lab.lookup(c, "f");
  const opened = await lab.end(c.vfs.open(WHO, ino, flags({ write: false })));
  t.equal(await lab.errno(() => c.vfs.read(opened.handle, 0, KERNEL)), "EIO");
});

void test("D2: a read never ends before a size that the kernel was told meanwhile", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const b = lab.mount();
  const { ino, handle } = await lab.create(a, "log", { append: true });
  await lab.write(a, handle, 0, pattern(5000, 1));
  await lab.end(a.vfs.fsync(handle));
  // So that no recall says that it grew.
  b.meta.uncached = true;
  await lab.lookup(b, "log");
  const opened = await lab.end(b.vfs.open(WHO, ino, flags({ write: false })));
  const real = b.chunks.get.bind(b.chunks);
  let told = 0;
  b.chunks.get = async (want) => {
    const isFirst = told === 0;
    told ||= 1;
    if (isFirst) {
      // The bytes are on their way when the file grows and somebody asks for its size.
      await lab.write(a, handle, 0, pattern(5000, 2));
      await lab.end(a.vfs.fsync(handle));
      told = (await lab.end(b.vfs.getattr(WHO, ino))).attr.size;
    }
    return real(want);
  };
  const seen = await lab.end(b.vfs.read(opened.handle, 0, 100_000));
  t.equal(told, 10_000);
  t.equal(seen.length, 10_000);
});

void test("of a file that grows without end only so many slots are remembered", (t) => {
  const slots = new SlotMap(CHUNK);
  const attr = { size: 0, version: 1, truncSeq: 0 } as Attr;
  slots.put({ attr, slots: [], chunks: [], first: 0, count: 1, cached: true });
  const slice = { pos: 0, len: CHUNK, chunk: 7, off: 0, inline: Buffer.alloc(0) };
  for (let slot = 0; slot < 5000; slot++) {
    const grown = { ...attr, size: (slot + 1) * CHUNK, version: slot + 2 };
    slots.apply(grown, [{ slot, slice }], []);
    if (slot === 100) t.ok(slots.covers(0, 100 * CHUNK));
  }
  t.notOk(slots.knows(0));
  t.notOk(slots.covers(0, CHUNK), "it is asked for again");
  t.end();
});
