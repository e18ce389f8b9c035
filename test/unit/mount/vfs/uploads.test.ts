import { test } from "tap";
import { until } from "../../../helpers/fake-clock.js";
import { CHUNK, Lab, WHO, flags, pattern } from "./lab.js";

void test("a full node is passed over, and ENOSPC is told only when all are full", async (t) => {
  const lab = new Lab({ seed: 3 });
  const a = lab.mount();
  lab.nodes.node(1).full = true;
  for (let i = 0; i < 10; i++) {
    const { handle } = await lab.create(a, `f${i}`);
    await lab.write(a, handle, 0, pattern(2 * CHUNK, i));
    t.equal(await lab.errno(() => a.vfs.flush(handle)), "");
    await lab.end(a.vfs.release(handle));
  }
  for (const node of lab.nodes.nodes) node.full = true;
  const { handle } = await lab.create(a, "last");
  await lab.write(a, handle, 0, pattern(2 * CHUNK, 1));
  const before = lab.clock.monotonicMs();
  await t.rejects(lab.end(a.vfs.flush(handle)), { name: "FsError", errno: "ENOSPC", message: /no storage daemon has/ });
  t.ok(lab.clock.monotonicMs() - before < 10_000, "long before the deadline");
});

void test("nodes that are away are waited for, up to the deadline", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { ino, handle } = await lab.create(a, "f");
  for (const node of [1, 2]) lab.cluster.down.add(node);
  await lab.write(a, handle, 0, pattern(CHUNK, 1));
  const flushed = a.vfs.flush(handle);
  await lab.clock.advance(20_000);
  t.equal(lab.cluster.inode(ino)?.size, 0);
  lab.cluster.down.clear();
  await lab.end(flushed);
  t.equal(lab.cluster.inode(ino)?.size, CHUNK);
  for (const node of [1, 2]) lab.cluster.down.add(node);
  await lab.write(a, handle, 0, pattern(CHUNK, 2));
  t.equal(await lab.errno(() => a.vfs.flush(handle)), "EIO");
});

void test("a commit whose chunk lost its copies since waits for their repair", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { ino, handle } = await lab.create(a, "f");
  const real = a.chunks.put.bind(a.chunks);
  a.chunks.put = async (chunk) => {
    await real(chunk);
    for (const node of [1, 2, 3]) lab.cluster.down.add(node);
  };
  await lab.write(a, handle, 0, pattern(CHUNK, 1));
  const flushed = a.vfs.flush(handle);
  await lab.clock.advance(5000);
  t.equal(lab.cluster.inode(ino)?.size, 0);
  lab.cluster.down.clear();
  await lab.end(flushed);
  t.equal(lab.cluster.inode(ino)?.size, CHUNK);
});

void test("written data stays within its memory, and uploads within their number", async (t) => {
  const lab = new Lab({ seed: 8 });
  const dirtyBytes = 6 * CHUNK;
  const a = lab.mount({ dirtyBytes });
  const files = await Promise.all(Array.from({ length: 5 }, (_, i) => lab.create(a, `f${i}`)));
  let peak = 0;
  const writers = files.map(async ({ handle }, i) => {
    for (let n = 0; n < 40; n++) {
      await a.vfs.write(handle, n * 20_000, pattern(20_000, i));
      const text = await a.registry.getSingleMetricAsString("bigfs_mount_dirty_bytes");
      peak = Math.max(peak, Number(/bytes (\d+)$/m.exec(text)?.[1]));
    }
    await a.vfs.flush(handle);
  });
  await lab.end(Promise.all(writers).then(() => undefined));
  t.ok(peak > CHUNK && peak <= dirtyBytes + files.length * 20_000, `peak ${peak}`);
  t.ok(lab.nodes.putsAtOnceMax > 1 && lab.nodes.putsAtOnceMax <= 8, `${lab.nodes.putsAtOnceMax} puts at once`);
  for (const [i, { ino }] of files.entries()) {
    const data = await lab.content(a, ino);
    for (let n = 0; n < 40; n++) t.same(data.subarray(n * 20_000, (n + 1) * 20_000), pattern(20_000, i));
  }
});

void test("single bytes here and there stay within the memory for written data too", async (t) => {
  const lab = new Lab();
  const a = lab.mount({ dirtyBytes: 1 << 20 });
  const { handle } = await lab.create(a, "f");
  let goOn = (): void => {};
  const held = new Promise<void>((resolve) => (goOn = resolve));
  a.meta.before = (op) => (op === "commit" ? held : undefined);
  let count = 0;
  let waiting: unknown = 0;
  for (; count < 5000 && typeof waiting === "number"; count++)
    waiting = a.vfs.write(handle, count * 3, Buffer.from("x"));
  t.ok(count < 1000, `${count} writes before one has to wait`);
  goOn();
  await lab.end(waiting as Promise<number>);
  await lab.close(a, handle);
});

void test("small ranges share a chunk, tiny ones need none", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { ino, handle } = await lab.create(a, "f");
  await lab.write(a, handle, 0, pattern(3000, 1));
  await lab.end(a.vfs.fsync(handle));
  t.equal(lab.nodes.puts, 0, "3000 bytes are kept in the metadata");
  for (let slot = 0; slot < 6; slot++) await lab.write(a, handle, slot * CHUNK + 10_000, pattern(5000, slot));
  await lab.end(a.vfs.fsync(handle));
  t.equal(lab.nodes.puts, 1, "six ranges of 5000 bytes are one chunk");
  const data = await lab.content(lab.mount(), ino);
  for (let slot = 0; slot < 6; slot++) {
    t.same(data.subarray(slot * CHUNK + 10_000, slot * CHUNK + 15_000), pattern(5000, slot));
  }
});

void test("many tiny appends with fsync do not pile up in the metadata, nor as tiny chunks", async (t) => {
  const lab = new Lab({ chunkSize: 1 << 20 });
  const a = lab.mount();
  const { ino, handle } = await lab.create(a, "log", { append: true });
  const lines: Buffer[] = [];
  for (let n = 0; n < 400; n++) {
    const line = pattern(300, n);
    lines.push(line);
    await lab.write(a, handle, 0, line);
    await lab.end(a.vfs.fsync(handle));
  }
  t.equal(lab.nodes.puts, 1, "one chunk when the slot has its fill of inline bytes, and the next 64 KiB inline again");
  t.same(await lab.content(lab.mount(), ino), Buffer.concat(lines));
});

void test("a sequential writer makes one chunk of each slot however small its writes are", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { handle } = await lab.create(a, "f");
  for (let off = 0; off < 4 * CHUNK; off += 1000) await lab.write(a, handle, off, pattern(1000, off));
  await lab.close(a, handle);
  t.equal(lab.nodes.puts, 4, "and keeps the 856 bytes behind them in the metadata");
});

void test("data that nobody flushes is stored after dirtyMs", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { ino, handle } = await lab.create(a, "f");
  await lab.write(a, handle, 0, pattern(10_000, 1));
  await lab.clock.advance(4000);
  t.equal(lab.cluster.inode(ino)?.size, 0);
  await lab.clock.advance(1500);
  await until(() => lab.cluster.inode(ino)?.size === 10_000);
  await lab.write(a, handle, 10_000, pattern(10, 1));
  await lab.end(a.vfs.drain());
  t.equal(lab.cluster.inode(ino)?.size, 10_010, "drain does not wait for it");
});

void test("O_SYNC writes are durable when they return", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { ino } = await lab.create(a, "f");
  const { handle } = await lab.end(a.vfs.open(WHO, ino, flags({ sync: true })));
  await lab.write(a, handle, 0, pattern(10_000, 1));
  t.equal(lab.cluster.inode(ino)?.size, 10_000);
  t.equal(a.meta.calls.get("fsync"), 1);
});

void test("moving inline bytes into a chunk never puts them over what another mount wrote meanwhile", async (t) => {
  const lab = new Lab({ chunkSize: 1 << 20 });
  const a = lab.mount();
  const b = lab.mount();
  const { ino, handle } = await lab.create(a, "f");
  await lab.lookup(b, "f");
  const { handle: there } = await lab.end(b.vfs.open(WHO, ino, flags()));
  const lines: Buffer[] = [];
  let isDone = false;
  a.meta.before = async (op, args) => {
    const { slices = [] } = args as { slices?: { slice?: { chunk: number } }[] };
    if (isDone || op !== "commit" || slices[0]?.slice?.chunk === 0) return;
    isDone = true;
    // The commit is on its way, and what tells of the other change has not come yet.
    await b.vfs.write(there, 1000, Buffer.from("from the other mount"));
    await b.vfs.fsync(there);
  };
  for (let n = 0; !isDone; n++) {
    const line = pattern(300, n);
    lines.push(line);
    await lab.write(a, handle, n * 300, line);
    await lab.end(a.vfs.fsync(handle));
  }
  const expected = Buffer.concat(lines);
  expected.write("from the other mount", 1000);
  t.same(await lab.content(lab.mount(), ino), expected);
});
