import { FsError } from "../../proto/errno.js";

/** What one commit writes. Keys as in keys.ts; no key stands in both. */
export interface Batch {
  readonly puts: ReadonlyMap<string, Uint8Array>;
  readonly dels: ReadonlySet<string>;
}

export interface StoredRow {
  readonly key: string;
  readonly value: Uint8Array;
}

/** An ordered map of keys to bytes with durable atomic batches: all that BigFS asks of a database. */
export interface MetaStore {
  /** Values in the order of the keys; undefined where there is no row. Rejects DamagedRow. */
  load(keys: readonly string[]): Promise<(Uint8Array | undefined)[]>;
  /** Rows with from <= key < to in byte order, at most `limit`. Rejects DamagedRow. */
  scan(range: { from: string; to: string; limit: number }): Promise<StoredRow[]>;
  /** All or nothing; resolves when it would survive a power cut. Calls do not overlap. */
  commit(batch: Batch): Promise<void>;
  /** All rows as the commits up to now have left them, whatever is committed meanwhile; to be closed. */
  snapshot(): Promise<StoreSnapshot>;
  close(): Promise<void>;
}

/** The rows of one moment. */
export interface StoreSnapshot {
  /** As of the store. */
  scan(range: { from: string; to: string; limit: number }): Promise<StoredRow[]>;
  close(): Promise<void>;
}

/** A stored row is not as it was written. Nothing was skipped for it: the whole call fails. */
export class DamagedRow extends Error {
  override readonly name = "DamagedRow";
  constructor(
    readonly key: string,
    /** The file that it is in. */
    readonly where: string,
  ) {
    super(`row ${JSON.stringify(key)} in ${where} is damaged: it does not have its checksum`);
  }
}

/** What reading failed with, as one who asked for much of it is told. */
export function inWords(error: unknown): unknown {
  return error instanceof DamagedRow ? new FsError("EIO", error.message, { cause: error }) : error;
}
