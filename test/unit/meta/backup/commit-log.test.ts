import { test } from "tap";
import { CommitLog, readSegment, writeSegment, type LoggedBatch } from "../../../../daemon/meta/backup/commit-log.js";
import { openBackup } from "../../../../daemon/meta/backup/dump.js";
import { logged, seqOf } from "../../../../daemon/meta/backup/logged-store.js";
import { key } from "../../../../daemon/meta/keys.js";
import { MemoryStore } from "../../../../daemon/meta/memory-store.js";
import { decodeRow, encodeRow } from "../../../../daemon/meta/row-codec.js";
import { VolumeRow } from "../../../../proto/gen/bigfs/v1/rows.js";

const batch = (seq: number, bytes = 10): LoggedBatch => ({
  seq,
  puts: new Map([[key.inode(seq), Buffer.alloc(bytes, seq)]]),
  dels: new Set([key.orphan(seq)]),
});

function logOf(bytesMax = 1e9) {
  const clock = { ms: 0, monotonicMs: () => clock.ms };
  return { clock, log: new CommitLog(clock, { bytesMax }) };
}

const seqs = (batches: readonly LoggedBatch[]) => batches.map(({ seq }) => seq);
const HEADER = {
  format: 1,
  volume: VolumeRow.fromPartial({ uuid: "v" }),
  created: { sec: 1, nsec: 0 },
  seq: 0,
  life: "l",
};

test("commits wait in their order until they were shipped, and how long the oldest waits is the lag", (t) => {
  const { clock, log } = logOf();
  t.equal(log.lagMs, 0);
  for (const seq of [1, 2, 3]) {
    clock.ms = seq * 1000;
    log.add(batch(seq));
  }
  clock.ms = 10_000;
  t.equal(log.lagMs, 9000);
  t.same(seqs(log.next()), [1, 2, 3]);
  t.same(seqs(log.next()), [1, 2, 3], "what was not shipped comes again (D29)");
  log.add(batch(4));
  log.shipped(3);
  t.same([seqs(log.next()), log.lagMs], [[4], 0]);
  log.shipped(4);
  t.same([seqs(log.next()), log.lagMs], [[], 0]);
  t.end();
});

test("a segment is bounded and has no gap", (t) => {
  const { log } = logOf();
  for (const seq of [1, 2, 3]) log.add(batch(seq, 5e6));
  t.same(seqs(log.next()), [1]);
  log.shipped(1);
  log.shipped(3);
  for (const seq of [7, 8, 11]) log.add(batch(seq));
  t.same(seqs(log.next()), [7, 8]);
  t.end();
});

test("when more waits than may, all of it is let go, and it is broken until a snapshot follows", (t) => {
  const { log } = logOf(100);
  for (let seq = 1; seq <= 3; seq++) log.add(batch(seq, 20));
  t.equal(log.isBroken, true);
  t.same(seqs(log.next()), [3]);
  log.mend();
  t.equal(log.isBroken, false);
  log.add(batch(4, 500));
  t.equal(log.isBroken, true, "one that is too large by itself");
  t.same(seqs(log.next()), []);
  log.add(batch(5));
  t.same(seqs(log.next()), [5]);
  t.end();
});

test("a segment is read back as it was written; damaged, cut, or with a commit missing it is refused", async (t) => {
  const batches = Array.from({ length: 40 }, (_, i) => batch(i + 5, 50_000));
  const bytes = await writeSegment(HEADER, batches);
  async function* source(file: Buffer): AsyncGenerator<Buffer> {
    yield await Promise.resolve(file);
  }
  const read = async (file: Buffer) => readSegment(await openBackup(source(file)));
  const found = await read(bytes);
  t.same(
    found.map(({ seq, puts, dels }) => [seq, [...puts], [...dels]]),
    batches.map(({ seq, puts, dels }) => [seq, [...puts], [...dels]]),
  );
  for (const place of [30, bytes.length >> 1, bytes.length - 3]) {
    const bad = Buffer.from(bytes);
    bad.writeUInt8(bad.readUInt8(place) ^ 16, place);
    await t.rejects(read(bad), /EBADMSG/);
    await t.rejects(read(bytes.subarray(0, place)), /EBADMSG/);
  }
  await t.rejects(read(await writeSegment(HEADER, batches.toSpliced(7, 1))), /not in order/);
});

test("each commit has a number that is on disk with it, and goes on after a restart", async (t) => {
  const { log } = logOf();
  let memory = new MemoryStore();
  for (const [from, to] of [
    [1, 3],
    [4, 5],
  ] as const) {
    const store = await logged(memory, log);
    for (let seq = from; seq <= to; seq++) await store.commit({ puts: batch(seq).puts, dels: new Set() });
    t.equal(await seqOf(await store.snapshot()), to);
    memory = memory.crash();
  }
  t.same(seqs(log.next()), [1, 2, 3, 4, 5]);
  const failing = await logged(
    memory.crash({
      gate: (call) => {
        if (call === "commit") throw new Error("the disk is full");
      },
    }),
    log,
  );
  await t.rejects(failing.commit(batch(6)));
  t.equal(log.next().length, 5, "what did not come to disk is not shipped");
});

test("that the volume grows older is no commit to ship, and goes along with the next one", async (t) => {
  const { log } = logOf();
  const memory = new MemoryStore();
  const store = await logged(memory, log);
  const volume = VolumeRow.fromPartial({ uuid: "v", nextIno: 7, servedSec: 10 });
  const commit = (row: VolumeRow, more = new Map<string, Uint8Array>()) =>
    store.commit({ puts: new Map([[key.volume, encodeRow(key.volume, row)], ...more]), dels: new Set() });
  const ages = () =>
    log.next().map(({ puts }) => {
      const row = puts.get(key.volume);
      return row && decodeRow(key.volume, row).servedSec;
    });
  await commit(volume);
  t.same(seqs(log.next()), [1], "it is new");
  for (const servedSec of [15, 20, 25]) await commit({ ...volume, servedSec });
  t.same(seqs(log.next()), [1]);
  t.equal(await seqOf(await store.snapshot()), 1);
  const [row = Buffer.alloc(0)] = await memory.load([key.volume]);
  t.equal(decodeRow(key.volume, row).servedSec, 25, "it is on disk");
  await store.commit({ puts: batch(2).puts, dels: new Set() });
  await store.commit({ puts: batch(3).puts, dels: new Set() });
  t.same(ages(), [10, 25, undefined]);
  await commit({ ...volume, servedSec: 30, nextIno: 8 });
  await commit({ ...volume, servedSec: 35, nextIno: 8 }, new Map(batch(5).puts));
  t.same(ages(), [10, 25, undefined, 30, 35], "any other change of the volume is shipped");

  const again = await logged(memory, log);
  const aged = { ...volume, servedSec: 40, nextIno: 8 };
  await again.commit({ puts: new Map([[key.volume, encodeRow(key.volume, aged)]]), dels: new Set() });
  t.same(seqs(log.next()), [1, 2, 3, 4, 5], "nor after a restart");
});
