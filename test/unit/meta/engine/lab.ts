import { pino } from "pino";
import type { Test } from "tap";
import { Executor, type ExecutorOptions } from "../../../../daemon/meta/executor.js";
import { key, type Key } from "../../../../daemon/meta/keys.js";
import { MemoryStore, type MemoryStoreOptions } from "../../../../daemon/meta/memory-store.js";
import type { Batch, MetaStore, StoredRow, StoreSnapshot } from "../../../../daemon/meta/metastore.js";
import { encodeRow } from "../../../../daemon/meta/row-codec.js";
import { FsError, type Errno } from "../../../../proto/errno.js";
import { UnsyncedRow } from "../../../../proto/gen/bigfs/v1/rows.js";
import type { Tx } from "../../../../daemon/meta/tx.js";

/** A row that holds a list of numbers. */
export const cell = (n: number): Key<"U"> => key.unsynced(n);

export function numbers(tx: Tx, n: number): readonly number[] | undefined {
  return tx.get(cell(n))?.chunks;
}

export function setNumbers(tx: Tx, n: number, chunks: readonly number[]): void {
  tx.put(cell(n), UnsyncedRow.fromPartial({ chunks: [...chunks] }));
}

/** A store whose commits (or loads, or scans) stand still until they are let go. */
export class Gates {
  readonly closed = new Set<string>();
  #waiting: (() => void)[] = [];

  readonly gate = async (call: string, when: string): Promise<void> => {
    while (this.closed.has(`${when} ${call}`)) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  };

  close(name: string): void {
    this.closed.add(name);
  }

  open(name: string): void {
    this.closed.delete(name);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const go of waiting) go();
  }
}

/** Notes what is asked of a store. */
export class Watched implements MetaStore {
  readonly loads: (readonly string[])[] = [];
  readonly commits: string[][] = [];

  constructor(readonly inner: MetaStore) {}

  load(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    this.loads.push(keys);
    return this.inner.load(keys);
  }

  scan(range: { from: string; to: string; limit: number }): Promise<StoredRow[]> {
    return this.inner.scan(range);
  }

  snapshot(): Promise<StoreSnapshot> {
    return this.inner.snapshot();
  }

  commit(batch: Batch): Promise<void> {
    this.commits.push([...batch.puts.keys(), ...batch.dels]);
    return this.inner.commit(batch);
  }

  close(): Promise<void> {
    return this.inner.close();
  }
}

/** Stored cells, as another life of the daemon left them. */
export function storeWith(cells: Record<number, readonly number[]>, opts: MemoryStoreOptions = {}): MemoryStore {
  const rows = Object.entries(cells).map(([n, chunks]) => {
    const at = cell(Number(n));
    return [at, encodeRow(at, UnsyncedRow.fromPartial({ chunks: [...chunks] }))] as const;
  });
  return new MemoryStore(opts, rows);
}

export function executorOver(store: MetaStore, opts: ExecutorOptions = {}): { executor: Executor; log: string[] } {
  const log: string[] = [];
  const logger = pino({ level: "error" }, { write: (line: string) => void log.push(line) });
  return { executor: new Executor({ store, log: logger }, opts), log };
}

/** "waiting" while it has not settled after everything that was ready has run. */
export async function stateOf(promise: Promise<unknown>): Promise<"waiting" | "resolved" | "rejected"> {
  let state: "waiting" | "resolved" | "rejected" = "waiting";
  promise.then(
    () => (state = "resolved"),
    () => (state = "rejected"),
  );
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  return state;
}

/** Checks that it rejects with this errno. */
export async function rejects(t: Test, promise: Promise<unknown>, errno: Errno): Promise<void> {
  const thrown: unknown = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  t.ok(thrown instanceof FsError, "an FsError");
  t.match(thrown, { errno });
}
