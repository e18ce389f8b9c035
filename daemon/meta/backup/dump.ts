/** All rows of one moment as a file of frames: a header, rows in the order of their keys, an end with their number. */
import { fail } from "../../../proto/errno.js";
import { BackupEnd, BackupHeader, BackupRows } from "../../../proto/gen/bigfs/v1/backup.js";
import type { Time, VolumeRow } from "../../../proto/gen/bigfs/v1/rows.js";
import { StartupError } from "../../common/running.js";
import { key } from "../keys.js";
import type { StoredRow, StoreSnapshot } from "../metastore.js";
import { decodeRow } from "../row-codec.js";
import { readFrames, writeFrames, type Frame } from "./frames.js";

export const BACKUP_FORMAT = 1;

/** Rows of one read. */
const PAGE = 1000;
/** Bytes of one frame, roughly. */
const FRAME_BYTES = 512 * 1024;

export interface DumpOptions {
  readonly created: Time;
  readonly seq: number;
  readonly life: string;
}

/** The header of a dump of these rows. */
export async function headerOf(rows: StoreSnapshot, opts: DumpOptions): Promise<BackupHeader> {
  const [volume] = await rows.scan({ from: key.volume, to: `${key.volume}\0`, limit: 1 });
  if (volume === undefined) fail("EIO", "there is no volume");
  return { format: BACKUP_FORMAT, volume: decodeRow(key.volume, volume.value), ...opts };
}

/** The bytes of a dump. One page of rows is in memory at a time. */
export function writeDump(rows: StoreSnapshot, header: BackupHeader): AsyncGenerator<Buffer> {
  return writeFrames(dumpFrames(rows, header));
}

async function* dumpFrames(rows: StoreSnapshot, header: BackupHeader): AsyncGenerator<Frame> {
  yield headerFrame(header);
  let count = 0;
  for await (const block of blocks(rows)) {
    count += block.length;
    yield { kind: "rows", payload: Buffer.from(BackupRows.encode({ rows: block.map(backupRow) }).finish()) };
  }
  yield endFrame(count);
}

async function* blocks(rows: StoreSnapshot): AsyncGenerator<StoredRow[]> {
  let block: StoredRow[] = [];
  let bytes = 0;
  for (let from = ""; ;) {
    const page = await rows.scan({ from, to: "\xff", limit: PAGE });
    for (const row of page) {
      block.push(row);
      bytes += row.key.length + row.value.length;
      if (bytes < FRAME_BYTES) continue;
      yield block;
      block = [];
      bytes = 0;
    }
    const last = page.at(-1);
    if (last === undefined || page.length < PAGE) break;
    from = `${last.key}\0`;
  }
  if (block.length > 0) yield block;
}

export function headerFrame(header: BackupHeader): Frame {
  return { kind: "header", payload: Buffer.from(BackupHeader.encode(header).finish()) };
}

export function endFrame(count: number): Frame {
  return { kind: "end", payload: Buffer.from(BackupEnd.encode({ count }).finish()) };
}

export function backupRow({ key: text, value }: StoredRow) {
  return { key: Buffer.from(text, "latin1"), value: Buffer.from(value) };
}

export function storedRow({ key: bytes, value }: { key: Buffer; value: Buffer }): StoredRow {
  return { key: bytes.toString("latin1"), value };
}

export interface Backup {
  readonly header: BackupHeader & { readonly volume: VolumeRow };
  /** What follows the header; ends after the end frame and what it says was checked, otherwise throws EBADMSG. */
  readonly frames: AsyncGenerator<Frame>;
}

/** Opens a backup. EBADMSG: it is none, or damaged. StartupError: it is of a newer build. */
export async function openBackup(file: AsyncIterable<Buffer>): Promise<Backup> {
  const frames = readFrames(file);
  const first = await frames.next();
  if (first.done === true || first.value.kind !== "header") fail("EBADMSG", "it has no header");
  const { volume, ...rest } = BackupHeader.decode(first.value.payload);
  if (rest.format > BACKUP_FORMAT) {
    throw new StartupError(`the backup has format ${rest.format}, this build knows formats up to ${BACKUP_FORMAT}`, {
      hint: "use the newer BigFS that wrote it",
    });
  }
  if (volume === undefined) fail("EBADMSG", "it does not say of which volume it is");
  return { header: { ...rest, volume }, frames };
}

/** The rows of a dump, block by block. Throws EBADMSG after the last unless it was whole. */
export async function* rowsOf({ frames }: Backup): AsyncGenerator<StoredRow[]> {
  let count = 0;
  let before = "";
  for await (const { kind, payload } of frames) {
    if (kind === "end") mustCount(payload, count);
    else if (kind !== "rows") fail("EBADMSG", "it is no dump");
    else {
      const rows = BackupRows.decode(payload).rows.map(storedRow);
      for (const row of rows) {
        if (row.key <= before) fail("EBADMSG", "its rows are out of order");
        before = row.key;
      }
      count += rows.length;
      yield rows;
    }
  }
}

/** EBADMSG unless the end frame says this number. */
export function mustCount(end: Buffer, count: number): void {
  const expected = BackupEnd.decode(end).count;
  if (expected !== count) fail("EBADMSG", `it has ${count} rows, and its end says ${expected}`);
}
