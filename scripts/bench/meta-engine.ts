/** Operations per second of the metadata engine on SQLite: `node dist/scripts/bench/meta-engine.js [FOLDER]`. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { systemClock } from "../../daemon/common/clock.js";
import { Executor } from "../../daemon/meta/executor.js";
import { key } from "../../daemon/meta/keys.js";
import { openSqlite } from "../../daemon/meta/sqlite/sqlite-store.js";
import type { Tx } from "../../daemon/meta/tx.js";
import { CookieRow, EntryRow, InodeRow } from "../../proto/gen/bigfs/v1/rows.js";
import { nameBytes, nameOf } from "../../proto/name.js";

const OPERATIONS = 20_000;
const ROOT = 1;

function create(tx: Tx, ino: number): void {
  const name = nameOf(Buffer.from(`file-${String(ino)}`));
  const dir = tx.get(key.inode(ROOT)) ?? InodeRow.fromPartial({ ino: ROOT, mode: 0o40755, nextCookie: 3 });
  if (tx.get(key.entry(ROOT, name)) !== undefined) throw new Error("it exists");
  const cookie = dir.nextCookie;
  tx.put(key.inode(ROOT), { ...dir, children: dir.children + 1, nextCookie: cookie + 1, version: dir.version + 1 });
  tx.put(key.inode(ino), InodeRow.fromPartial({ ino, mode: 0o100644, nlink: 1, mtime: systemClock.now() }));
  tx.put(key.entry(ROOT, name), EntryRow.fromPartial({ ino, cookie }));
  tx.put(key.cookie(ROOT, cookie), CookieRow.fromPartial({ name: nameBytes(name), ino }));
}

async function rate(what: string, count: number, inFlight: number, fn: (n: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const began = systemClock.monotonicMs();
  const worker = async () => {
    while (next < count) await fn(next++);
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  const seconds = (systemClock.monotonicMs() - began) / 1000;
  const label = `${what}, ${String(inFlight)} in flight`;
  process.stdout.write(
    `${label.padEnd(44)}${Math.round(count / seconds)
      .toLocaleString("en")
      .padStart(10)}/s\n`,
  );
}

const folder = await mkdtemp(join(process.argv[2] ?? tmpdir(), "bigfs-bench-"));
try {
  const store = await openSqlite(join(folder, "meta.db"));
  const log = pino({ level: "error" });
  const warm = new Executor({ store, log });
  let ino = 2;
  const visible = () => {
    const id = ino++;
    return warm.execute(1, (tx) => {
      create(tx, id);
    });
  };
  const durable = async () => warm.whenDurable((await visible()).batch);
  await rate("create, durable", OPERATIONS / 10, 1, durable);
  await rate("create, durable", OPERATIONS, 64, durable);
  await rate("create, visible", OPERATIONS, 64, visible);
  await warm.drained();
  await rate("read, in memory", OPERATIONS, 64, (n) => warm.execute(1, (tx) => tx.get(key.inode(2 + n))));
  const cold = new Executor({ store, log });
  await rate("read, from disk", OPERATIONS / 10, 1, (n) => cold.execute(1, (tx) => tx.get(key.inode(2 + n))));
  await rate("read, from disk", OPERATIONS, 64, (n) => cold.execute(1, (tx) => tx.get(key.inode(4000 + n))));
  let after = 0;
  await rate("listing, entries in pages of 1,024: pages", 20, 1, async () => {
    after = (await cold.list(1, { dir: ROOT, after, limit: 1024 })).entries.at(-1)?.cookie ?? 0;
  });
  await store.close();
} finally {
  await rm(folder, { recursive: true });
}
