import { test } from "tap";
import { BLOCK, fileBytes } from "../../../daemon/common/chunks/chunk-format.js";
import { Layout } from "../../../daemon/common/chunks/layout.js";
import { chunkOf, dataOf, openStore } from "./chunks.js";
import { MemoryDisk } from "./memory-disk.js";

const layout = new Layout("/data");
const NEVER = new AbortController().signal;

test("any range of a chunk comes back as it was put, shorter at the end of the chunk", async (t) => {
  const store = await openStore(new MemoryDisk());
  const len = 3 * BLOCK + 100;
  await store.put(chunkOf(5, len));
  const data = dataOf(5, len);
  for (const [off, n] of [
    [0, len],
    [0, 10],
    [BLOCK - 1, 2],
    [2 * BLOCK, BLOCK],
    [3 * BLOCK + 90, 100],
    [len, 10],
    [len + BLOCK, 10],
    [7, 0],
  ] as const) {
    t.same(await store.get(5, off, n), data.subarray(off, off + n), `${off}+${n}`);
  }
  await t.rejects(store.get(6, 0, 1), { message: /^ENOENT/ });
});

test("the same chunk again is success, other bytes under its id are refused and change nothing", async (t) => {
  const store = await openStore(new MemoryDisk());
  await store.put(chunkOf(5, 1000));
  const { used } = store.stats;
  await store.put(chunkOf(5, 1000));
  await t.rejects(store.put(chunkOf(5, 1000, { version: 1 })), { message: /^EEXIST/ });
  await t.rejects(store.put(chunkOf(5, 999)), { message: /^EEXIST/ });
  t.same(await store.get(5, 0, 1000), dataOf(5, 1000));
  t.same(store.stats.used, used);
});

test("of two puts of one id with other bytes at the same time exactly one wins", async (t) => {
  const store = await openStore(new MemoryDisk());
  const [a, b] = await Promise.allSettled([
    store.put(chunkOf(5, 70_000)),
    store.put(chunkOf(5, 70_000, { version: 1 })),
  ]);
  t.equal(a.status, "fulfilled");
  t.match(b, { status: "rejected", reason: { errno: "EEXIST" } });
  t.same(await store.get(5, 0, 70_000), dataOf(5, 70_000));
});

test("data that does not have the checksum it came with is not stored", async (t) => {
  const store = await openStore(new MemoryDisk());
  await t.rejects(store.put({ ...chunkOf(5, 1000), crc: 1 }), { message: /^EBADMSG/ });
  t.equal(store.stats.chunks, 0);
});

test("a flipped bit is an error of whoever reads its block, and the copy goes to quarantine", async (t) => {
  const disk = new MemoryDisk();
  const store = await openStore(disk);
  const lost: [number, string][] = [];
  store.onLost((id, errno) => lost.push([id, errno]));
  await store.put(chunkOf(5, 3 * BLOCK));
  const file = disk.peek(layout.pathOf(5));
  file[file.length - 1] = (file[file.length - 1] ?? 0) ^ 1;
  t.same(await store.get(5, 0, BLOCK), dataOf(5, 3 * BLOCK).subarray(0, BLOCK), "blocks that are right can be read");
  await t.rejects(store.get(5, 2 * BLOCK, 10), { message: /^EBADMSG/ });
  t.same(lost, [[5, "EBADMSG"]]);
  t.equal(store.entry(5), undefined);
  t.equal(disk.filesIn(layout.quarantine).length, 1);
  t.equal(store.stats.used, 0);
  await store.put(chunkOf(5, 3 * BLOCK));
  t.same(await store.verify(5), { len: 3 * BLOCK, crc: chunkOf(5, 3 * BLOCK).crc }, "a good copy can take its place");
});

test("a chunk file that is cut, emptied (D33) or gone is lost, once", async (t) => {
  const disk = new MemoryDisk();
  const store = await openStore(disk);
  const lost: [number, string][] = [];
  store.onLost((id, errno) => lost.push([id, errno]));
  for (const id of [1, 2, 3]) await store.put(chunkOf(id, BLOCK + 5));
  disk.poke(layout.pathOf(1), disk.peek(layout.pathOf(1)).subarray(0, -1));
  disk.poke(layout.pathOf(2), Buffer.alloc(0));
  await disk.remove(layout.pathOf(3));
  await t.rejects(store.get(1, BLOCK, 5), { message: /^EBADMSG/ });
  const twice = await Promise.allSettled([store.get(2, 0, 5), store.get(2, 0, 5)]);
  for (const result of twice) t.match(result, { status: "rejected", reason: { errno: "EBADMSG" } });
  await t.rejects(store.verify(3), { message: /^ENOENT/ });
  t.same(lost, [
    [1, "EBADMSG"],
    [2, "EBADMSG"],
    [3, "ENOENT"],
  ]);
  t.equal(disk.filesIn(layout.quarantine).length, 2);
});

test("an error that says nothing about the copy does not cost it", async (t) => {
  const disk = new MemoryDisk();
  const store = await openStore(disk);
  store.onLost(() => t.fail("lost"));
  await store.put(chunkOf(5, 100));
  disk.verdict = (label) => (label === "read" ? { code: "EMFILE" } : "do");
  await t.rejects(store.get(5, 0, 1), { message: /^EIO/ });
  let reads = 0;
  disk.verdict = (label) => (label === "read" && reads++ === 0 ? { code: "EIO" } : "do");
  await t.rejects(store.get(5, 0, 1), { message: /^EIO/ }, "one that passes, neither: the second look finds it good");
  t.same(await store.get(5, 0, 100), dataOf(5, 100));
});

test("a chunk whose fsync fails is lost: a second fsync would only seem to succeed", async (t) => {
  const disk = new MemoryDisk();
  const store = await openStore(disk);
  const lost: number[] = [];
  store.onLost((id) => lost.push(id));
  await store.put(chunkOf(5, 100));
  await store.put(chunkOf(6, 100));
  disk.verdict = (label, path) => (label === "fsync" && path === layout.pathOf(5) ? { code: "EIO" } : "do");
  t.same(await store.sync(), { synced: [6], lost: [5] });
  t.same(lost, [5]);
  t.equal(disk.openFiles, 0);
});

test("a chunk is fsynced by the descriptor of its write, the oldest of many by its name", async (t) => {
  const disk = new MemoryDisk();
  const store = await openStore(disk);
  for (let id = 1; id <= 257; id++) await store.put(chunkOf(id, 10));
  t.equal(disk.openFiles, 256);
  disk.log.length = 0;
  t.equal((await store.sync()).synced.length, 257);
  t.equal(disk.log.filter((call) => call.startsWith("fsync ")).length, 256);
  t.ok(disk.log.includes(`sync ${layout.pathOf(1)}`));
  t.equal(disk.openFiles, 0);
});

test("a file does not stay open when its chunk is gone, could not get its name, or the store is closed", async (t) => {
  const disk = new MemoryDisk();
  const store = await openStore(disk);
  for (const id of [1, 2, 3, 4]) await store.put(chunkOf(id, 10));
  await store.remove([1]);
  await store.quarantine(2, "for the test");
  t.equal(disk.openFiles, 2);
  disk.verdict = (label) => (label === "rename" ? { code: "EIO" } : "do");
  await t.rejects(store.put(chunkOf(5, 10)), { message: /^EIO/ });
  disk.verdict = (label) => (label === "fsync" ? { code: "EIO" } : "do");
  await t.rejects(store.put(chunkOf(6, 10, { sync: true })), { message: /^EIO/ });
  t.equal(disk.openFiles, 2);
  store.close();
  t.equal(disk.openFiles, 0);
  disk.verdict = () => "do";
  await store.put(chunkOf(7, 10));
  t.equal(disk.openFiles, 0, "nor what comes late");
  t.same((await store.sync()).synced, [3, 4, 7]);
});

test("a removal that could not be made durable is not called done when it is asked for again", async (t) => {
  const disk = new MemoryDisk();
  const store = await openStore(disk);
  await store.put(chunkOf(5, 100, { sync: true }));
  disk.verdict = (label) => (label === "sync" ? { code: "EIO" } : "do");
  await t.rejects(store.remove([5]));
  await t.rejects(store.remove([5]));
  disk.verdict = () => "do";
  t.same(await store.remove([5]), [5]);
  disk.restart(() => 0);
  t.same(disk.filesIn(layout.folderOf(5)), []);
});

test("a chunk that is removed during its fsync and stored again is not taken for fsynced", async (t) => {
  const disk = new MemoryDisk();
  const store = await openStore(disk);
  await store.put(chunkOf(5, 10));
  const syncing = store.sync();
  await store.remove([5]);
  await store.put(chunkOf(5, 10));
  await syncing;
  t.match(store.entry(5), { synced: false });
  t.equal(disk.openFiles, 1, "each file is closed once, by whoever has it");
  t.same(await store.sync(), { synced: [5], lost: [] });
  t.equal(disk.openFiles, 0);
});

test("a folder whose fsync fails costs the chunks whose names wait for it, and holds up no others", async (t) => {
  const disk = new MemoryDisk();
  const store = await openStore(disk);
  const lost: number[] = [];
  store.onLost((id) => lost.push(id));
  await store.put(chunkOf(1, 100, { sync: true }));
  for (const id of [5, 6, 300]) await store.put(chunkOf(id, 100));
  disk.verdict = (label, path) => (label === "sync" && path === layout.folderOf(5) ? { code: "EIO" } : "do");
  t.match(await store.sync(), { synced: [300], lost: [5, 6] });
  t.same(lost, [5, 6]);
  await t.rejects(store.put(chunkOf(7, 100, { sync: true })), { message: /^EIO/ });
  disk.verdict = () => "do";
  t.same(await store.sync([1, 5, 7, 300]), { synced: [1, 300], lost: [5, 7] });
});

test("a file that cannot be opened for its fsync is no lost copy: it is asked again", async (t) => {
  for (const code of ["EMFILE", "ENFILE"]) {
    const disk = new MemoryDisk();
    const store = await openStore(disk);
    store.onLost(() => t.fail("lost"));
    await store.put(chunkOf(5, 100));
    store.close();
    disk.verdict = (label) => (label === "sync" ? { code } : "do");
    t.same(await store.sync(), { synced: [], lost: [] });
    await t.rejects(store.put(chunkOf(5, 100, { sync: true })), { message: /^EIO/ });
    disk.verdict = () => "do";
    t.same(await store.sync(), { synced: [5], lost: [] });
  }
});

test("a node says ENOSPC before its capacity or the reserve of its disk is touched, and has space again after removal", async (t) => {
  const disk = new MemoryDisk();
  const store = await openStore(disk, { capacity: 300_000, reserve: 1000 });
  await store.put(chunkOf(1, 100_000));
  await store.put(chunkOf(2, 100_000));
  await t.rejects(store.put(chunkOf(3, 100_000)), { message: /^ENOSPC/ });
  t.ok(store.stats.used <= store.stats.capacity);
  t.same((await store.remove([1, 77])).sort(), [1, 77]);
  await store.put(chunkOf(3, 100_000));
  disk.freeBytes = 50_000;
  await store.refreshSpace();
  t.equal(store.stats.capacity, store.stats.used + 49_000);
  await t.rejects(store.put(chunkOf(4, 49_000)), { message: /^ENOSPC/ });
  disk.freeBytes = 2 ** 30;
  await store.put(chunkOf(4, 49_000));
});

test("a disk that is full after all leaves nothing behind", async (t) => {
  const disk = new MemoryDisk();
  const store = await openStore(disk);
  disk.verdict = (label) => (label === "write" ? { code: "ENOSPC" } : "do");
  await t.rejects(store.put(chunkOf(1, 1000)), { message: /^ENOSPC/ });
  t.equal(store.stats.used, 0);
  t.same(disk.filesIn(layout.temp), []);
  disk.verdict = () => "do";
  await store.put(chunkOf(1, 1000));
});

test("an inventory comes in order of the ids and knows what is fsynced", async (t) => {
  const disk = new MemoryDisk();
  const store = await openStore(disk);
  for (const id of [2 ** 45 + 3, 7, 2 ** 33, 300]) await store.put(chunkOf(id, 10));
  t.same(await store.sync([7, 8]), { synced: [7], lost: [8] });
  t.same([...store.ids()], [7, 300, 2 ** 33, 2 ** 45 + 3]);
  t.match(store.entry(7), { synced: true });
  t.match(store.entry(300), { synced: false });
  const again = await openStore(disk);
  t.match(again.entry(7), { synced: true, unverified: false, len: 10, crc: chunkOf(7, 10).crc });
  t.match(again.entry(300), { synced: false, unverified: true });
  await again.verifyUnverified(NEVER);
  t.match(again.entry(300), { synced: false, unverified: false });
  t.same((await again.sync()).synced.sort(), [300, 2 ** 33, 2 ** 45 + 3].sort());
  const third = await openStore(disk);
  t.equal(third.stats.unverified, 0, "what was synced needs no verification at the next start");
  t.equal(third.stats.used, 4 * 4096);
  t.equal(fileBytes(10) < 4096, true);
});

test("what is not a chunk goes to quarantine at the start, and nothing but unfinished writes is removed", async (t) => {
  const disk = new MemoryDisk();
  await openStore(disk);
  const foreign = [
    "/data/chunks/00/notes.txt",
    "/data/chunks/01/0000000000000005.chunk",
    "/data/chunks/00/000000000000000.chunk",
  ];
  for (const path of foreign) await disk.write(path, [Buffer.from("x")]);
  await disk.write(layout.pathOf(9), []);
  await disk.write("/data/tmp/0000000000000007.chunk", [Buffer.from("half")]);
  disk.log.length = 0;
  const store = await openStore(disk);
  t.equal(store.stats.chunks, 0);
  t.equal(disk.filesIn(layout.quarantine).length, 4);
  t.equal(store.stats.quarantined, 4);
  t.same(
    disk.log.filter((call) => call.startsWith("remove")),
    ["remove /data/tmp/0000000000000007.chunk"],
  );
});

test("why and since when something is in quarantine is listed in pages, also after a restart", async (t) => {
  const disk = new MemoryDisk();
  const store = await openStore(disk);
  await store.put(chunkOf(5, 100, { sync: true }));
  await store.quarantine(5, "nobody knows it: really");
  await disk.write("/data/chunks/01/notes.txt", [Buffer.from("x")]);
  await disk.write(`${layout.quarantine}/0000000000000007.chunk.0123abcd`, [Buffer.from("xyz")]);
  disk.restart(undefined);
  const again = await openStore(disk);
  const first = await again.quarantined.list("", 2);
  t.match(first.files, [
    { chunk: 5, size: fileBytes(100), reason: "nobody knows it: really", since: 1_700_000_000 },
    { chunk: 7, size: 3, reason: undefined, since: undefined },
  ]);
  const last = await again.quarantined.list(first.next ?? "", 2);
  t.match(last, {
    files: [{ chunk: undefined, file: /^notes\.txt\./, reason: "not a chunk's name" }],
    next: undefined,
  });
  t.equal(last.files.length, 1);
  disk.verdict = (label, path) => (label === "size" && path.includes("0123abcd") ? { code: "ENOENT" } : "do");
  t.equal((await again.quarantined.list("", 9)).files.length, 2, "what a person removes meanwhile is left out");
});

test("a chunk that was fsynced, removed and stored again is on disk before its name is", async (t) => {
  const disk = new MemoryDisk();
  const store = await openStore(disk);
  for (const leave of [() => store.remove([5]), () => store.quarantine(5, "for a test")]) {
    await store.put(chunkOf(5, 100, { sync: true }));
    await leave();
    disk.log.length = 0;
    await store.put(chunkOf(5, 100));
    const order = ["fsync /data/tmp/0000000000000005.chunk", `rename ${layout.pathOf(5)}`];
    t.same(
      disk.log.filter((call) => order.includes(call)),
      order,
      "the journal may still call it fsynced after a power cut",
    );
    await store.remove([5]);
  }
  disk.log.length = 0;
  await store.put(chunkOf(6, 100));
  t.notOk(
    disk.log.some((call) => call.startsWith("fsync")),
    "a new one is not",
  );
});

test("a synced put is on disk before its name is, so that no power cut can show the name without the bytes", async (t) => {
  const disk = new MemoryDisk();
  const store = await openStore(disk);
  disk.log.length = 0;
  await store.put(chunkOf(5, 100, { sync: true }));
  const temp = "/data/tmp/0000000000000005.chunk";
  const path = layout.pathOf(5);
  t.same(
    disk.log.filter((call) => !call.startsWith("free")),
    [
      `write ${temp}`,
      `fsync ${temp}`,
      `rename ${path}`,
      `fsync ${path}`,
      `sync ${layout.folderOf(5)}`,
      "append /data/journal",
    ],
  );
  t.match(store.entry(5), { synced: true });
});

test("a synced chunk whose file has another size at the start is not reported", async (t) => {
  const disk = new MemoryDisk();
  const store = await openStore(disk);
  for (const id of [1, 2]) await store.put(chunkOf(id, 100, { sync: true }));
  disk.poke(layout.pathOf(1), Buffer.alloc(0));
  const again = await openStore(disk);
  t.same([...again.ids()], [2]);
  t.equal(again.stats.quarantined, 1);
});

test("a chunk that cannot be read at the start costs its copy, not the node; a disk that cannot be read does", async (t) => {
  const disk = new MemoryDisk();
  const store = await openStore(disk);
  for (const id of [1, 2]) await store.put(chunkOf(id, 100));
  const bad = layout.pathOf(1);
  disk.verdict = (label, path) => (label === "read" && path === bad ? { code: "EIO" } : "do");
  const again = await openStore(disk);
  t.same([...again.ids()], [2]);
  t.equal(again.stats.quarantined, 1, "kept aside");
  disk.verdict = (label) => (label === "read" || label === "rename" ? { code: "EIO" } : "do");
  await t.rejects(openStore(disk), { code: "EIO" });
});

test("a node starts on a disk that is full, gives what it holds, and gives space back", async (t) => {
  const disk = new MemoryDisk();
  const store = await openStore(disk);
  await store.put(chunkOf(1, 100, { sync: true }));
  await store.put(chunkOf(2, 100));
  disk.freeBytes = 0;
  disk.verdict = (label) => (label === "write" || label === "append" ? { code: "ENOSPC" } : "do");
  const full = await openStore(disk);
  t.same(await full.get(1, 0, 100), dataOf(1, 100));
  t.match(full.entry(1), { synced: true, unverified: false });
  await full.verifyUnverified(NEVER);
  t.same(await full.sync(), { synced: [2], lost: [] });
  await t.rejects(full.put(chunkOf(3, 100)), { message: /^ENOSPC/ });
  t.same(await full.remove([1]), [1]);
  disk.freeBytes = 2 ** 30;
  disk.verdict = () => "do";
  await full.put(chunkOf(3, 100, { sync: true }));
  const again = await openStore(disk);
  t.same([...again.ids()], [2, 3]);
  t.match(again.entry(3), { synced: false, unverified: true }, "the journal could not say it");
});
