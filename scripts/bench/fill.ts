/**
 * Puts many small files into a volume whose metadata daemon does not run: what it takes days to write through a mount.
 * `node dist/scripts/bench/fill.js METADATA_FOLDER COUNT [PER_FOLDER]`: COUNT files of 100 bytes, PER_FOLDER (1,000) in
 * each of the folders `filled-0`, `filled-1`, ... Made by the rules, like any other file.
 */
import { join } from "node:path";
import { pino } from "pino";
import { systemClock } from "../../daemon/common/clock.js";
import { lockFolder } from "../../daemon/common/lock-file.js";
import { Executor } from "../../daemon/meta/executor.js";
import { InodeIds } from "../../daemon/meta/ids.js";
import { OPERATIONS } from "../../daemon/meta/rules/operations.js";
import { ROOT_INO, volumeOf } from "../../daemon/meta/rules/volume.js";
import { openSqlite } from "../../daemon/meta/sqlite/sqlite-store.js";
import type { Tx } from "../../daemon/meta/tx.js";
import { Commit } from "../../proto/gen/bigfs/v1/meta.js";

const [folder = "", text = "", perFolderText = "1000"] = process.argv.slice(2);
const [count, perFolder] = [Number(text), Number(perFolderText)];
if (folder === "" || !(count > 0) || !(perFolder > 0)) {
  throw new Error("usage: node dist/scripts/bench/fill.js METADATA_FOLDER COUNT [PER_FOLDER]");
}
const IN_FLIGHT = 256;
const content = Buffer.alloc(100, "a file ");

const lock = await lockFolder(folder);
const store = await openSqlite(join(folder, "meta.db"));
const executor = new Executor({ store, log: pino({ level: "error" }) });
const ids = new InodeIds({ executor });
const { value: volume } = await executor.execute(0, volumeOf);
const began = systemClock.monotonicMs();

async function make(dir: number, name: string, mode: number): Promise<number> {
  const [fresh, now] = [await ids.take(), systemClock.now()];
  const who = { uid: 0, gid: 0, groups: [], checked: true };
  const fixed = { who, now, session: 0, readOnly: false, isOpen: () => false, isLive: () => true, volume };
  const rest = { rdev: 0, target: Buffer.alloc(0), open: false, exclusive: true, truncate: false, umask: 0, access: 0 };
  await executor.execute(0, (tx: Tx) => {
    const ctx = { ...fixed, freshIno: () => fresh };
    OPERATIONS.make(tx, ctx, { dir, name: Buffer.from(name), mode, ...rest });
    if (dir === ROOT_INO) return;
    const slice = { pos: 0, len: content.length, chunk: 0, off: 0, inline: content };
    OPERATIONS.commit(tx, ctx, { ...Commit.create({ ino: fresh }), slices: [{ slot: 0, slice }] });
  });
  return fresh;
}

for (let first = 0; first < count; first += perFolder) {
  const dir = await make(ROOT_INO, `filled-${first / perFolder}`, 0o40755);
  const end = Math.min(count, first + perFolder);
  let next = first;
  const worker = async (): Promise<void> => {
    while (next < end) await make(dir, `file-${next++}`, 0o100644);
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
  const seconds = (systemClock.monotonicMs() - began) / 1000;
  if (end === count || end % 50_000 < perFolder) {
    process.stdout.write(`${end} of ${count} files, ${Math.round(end / seconds)}/s\n`);
  }
}
await executor.drained();
await store.close();
await lock.release();
