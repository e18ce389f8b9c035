import type { Key, RowKind, Rows } from "./keys.js";

/**
 * The row view that rules work on. Reads see the writes of the same transaction. Rows are values: never change one that
 * was read, put a copy. Nothing is kept when the rule throws.
 */
export interface Tx {
  /** undefined: there is no such row. Throws RowMissing (only the executor catches it) when it is not loaded yet. */
  get<K extends RowKind>(key: Key<K>): Readonly<Rows[K]> | undefined;
  put<K extends RowKind>(key: Key<K>, row: Rows[K]): void;
  del(key: Key): void;
  /** A hint that these rows will be read: those that are not in memory are loaded together instead of one by one. */
  preload?(keys: readonly Key[]): void;
}

/** Another session has a row to itself; the executor waits until that is over and runs the rule again. */
export class RowHeld extends Error {
  override readonly name = "RowHeld";
  constructor(readonly over: Promise<void>) {
    super("a row is held exclusively");
  }
}

/** A row is not in memory; the executor loads it and runs the rule again. */
export class RowMissing extends Error {
  override readonly name = "RowMissing";
  constructor(
    readonly key: Key,
    /** More rows that the rule knows it will need. */
    readonly others: readonly Key[] = [],
  ) {
    // Thrown often, and never shown: a stack would cost more than the load.
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    super("a row is not loaded");
    Error.stackTraceLimit = stackTraceLimit;
  }
}
