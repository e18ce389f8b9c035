import { runInNewContext } from "node:vm";
import { setFlagsFromString } from "node:v8";
import { test } from "tap";
import { systemClock } from "../../../../daemon/common/clock.js";
import { collectForManyRows } from "../../../../daemon/common/engine.js";
import { key, type Key, type RowKind, type Rows } from "../../../../daemon/meta/keys.js";
import { RowCache } from "../../../../daemon/meta/row-cache.js";
import { decodeRow, encodeRow } from "../../../../daemon/meta/row-codec.js";
import { CookieRow, ChunkRow, EntryRow, InodeRow, SlotRow } from "../../../../proto/gen/bigfs/v1/rows.js";
import type { Name } from "../../../../proto/name.js";

const BOUND = 8 * 1024 * 1024;

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;
collectForManyRows(systemClock);

/** Bytes that are alive. */
function alive(): number {
  for (let n = 0; n < 4; n++) collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

const time = (n: number) => ({ sec: 1_790_000_000, nsec: n * 1000 });
const name = (n: number) => `file number ${n}` as Name;

/** Each kind of row that there are many of, and small contents, which go through many buffers on their way. */
const KINDS: { readonly [label: string]: (n: number) => void } = {
  inodes: (n) =>
    keep(key.inode(n), {
      ...InodeRow.create({ ino: n, mode: 0o100644, nlink: 1, size: 4096, version: 5, stored: 4096 }),
      ...{ atime: time(n), mtime: time(n + 1), ctime: time(n + 2), btime: time(n + 3) },
    }),
  entries: (n) => keep(key.entry(7, name(n)), EntryRow.create({ ino: n, type: 0o100000, cookie: n })),
  cookies: (n) =>
    keep(key.cookie(7, n), CookieRow.create({ ino: n, type: 0o100000, name: Buffer.from(name(n), "latin1") })),
  "small contents": (n) =>
    keep(key.slot(n, 0), SlotRow.create({ slices: [{ len: 2000, inline: Buffer.alloc(2000, n) }] })),
  slots: (n) => keep(key.slot(n, 0), SlotRow.create({ slices: [{ len: 100_000, chunk: n }] })),
  chunks: (n) => keep(key.chunk(n), ChunkRow.create({ id: n, replicas: [replica(1, n), replica(2, n)] })),
  "absent names": (n) => cache.absent(key.entry(7, name(n))),
};

const replica = (node: number, since: number) => ({ node, state: 2, synced: true, since }) as const;

let cache = new RowCache({ bytes: BOUND });

/** As a row that was loaded. */
function keep<K extends RowKind>(at: Key<K>, row: Rows[K]): void {
  const stored = encodeRow(at, row);
  Buffer.from("something else that is made meanwhile".repeat(20));
  cache.pin(at);
  cache.loaded(at, decodeRow(at, stored), stored.length);
  cache.unpin(at);
}

for (const [label, put] of Object.entries(KINDS)) {
  test(`${label} take the memory that they are counted with`, (t) => {
    cache = new RowCache({ bytes: BOUND });
    const before = alive();
    for (let n = 1; n <= 100_000 && n * 1000 < 10 * BOUND; n++) put(n);
    const taken = alive() - before;
    t.ok(cache.size > 1000, `${cache.size} rows`);
    t.ok(taken < 1.25 * BOUND, `not more: ${Math.round(taken / cache.size)} bytes each`);
    t.ok(taken > 0.5 * BOUND, `not much less: ${Math.round(taken / cache.size)} bytes each`);
    t.end();
  });
}
