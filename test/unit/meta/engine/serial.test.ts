import fc from "fast-check";
import { test } from "tap";
import type { Executor } from "../../../../daemon/meta/executor.js";
import type { Tx } from "../../../../daemon/meta/tx.js";
import { FsError } from "../../../../proto/errno.js";
import { cell, executorOver, numbers, setNumbers, storeWith } from "./lab.js";
import type { MemoryStore } from "../../../../daemon/meta/memory-store.js";

const CELLS = 4;

interface Op {
  readonly session: number;
  readonly reads: readonly number[];
  readonly writes: readonly number[];
  readonly dels: readonly number[];
  readonly refuses: boolean;
  readonly hints: boolean;
}

interface Ran {
  readonly op: Op;
  readonly id: number;
  /** How many operations had changed something or succeeded before it ran. */
  readonly before: number;
  readonly seen: unknown;
  readonly order: number | undefined;
  readonly batch: number;
  readonly changed: readonly string[];
  readonly durableWhenTold: number;
}

const someCells = fc.uniqueArray(fc.integer({ min: 1, max: CELLS }), { maxLength: 3 });
const operation: fc.Arbitrary<Op> = fc.record({
  session: fc.integer({ min: 0, max: 3 }),
  reads: someCells,
  writes: someCells,
  dels: fc.uniqueArray(fc.integer({ min: 1, max: CELLS }), { maxLength: 1 }),
  refuses: fc.boolean(),
  hints: fc.boolean(),
});

function apply(tx: Tx, op: Op, id: number): unknown {
  const seen = op.reads.map((n) => [n, numbers(tx, n)]);
  const sum = op.reads.flatMap((n) => numbers(tx, n) ?? []).reduce((a, b) => (a + b) % 1000, id);
  for (const n of op.writes) setNumbers(tx, n, [id, sum]);
  for (const n of op.dels) tx.del(cell(n));
  return seen;
}

async function run(executor: Executor, op: Op, id: number): Promise<Ran> {
  let before = 0;
  let seen: unknown;
  const rule = (tx: Tx): void => {
    before = executor.order;
    seen = apply(tx, op, id);
    if (op.refuses) throw new FsError("EEXIST");
  };
  const hint = op.hints ? op.reads.map(cell) : [];
  const told = await executor.execute(op.session, rule, { hint }).catch((error: unknown) => {
    if (error instanceof FsError && error.errno === "EEXIST") return undefined;
    throw error;
  });
  return {
    op,
    id,
    before,
    seen,
    order: told?.order,
    batch: told?.batch ?? 0,
    changed: told?.changed ?? [],
    durableWhenTold: executor.durable,
  };
}

/** The twin: one operation after the other on a plain map. */
function serial(ran: readonly Ran[], start: ReadonlyMap<number, readonly number[]>, upToBatch = Infinity) {
  const cells = new Map(start);
  const seen = new Map<number, unknown>();
  const order = ran.toSorted((a, b) => a.before - b.before || (a.order ?? 0) - (b.order ?? 0));
  for (const { op, id, batch } of order) {
    const changes = new Map<number, readonly number[] | undefined>();
    const tx = {
      get: (at: string) => {
        const n = parseInt(at.slice(1), 16);
        const chunks = changes.has(n) ? changes.get(n) : cells.get(n);
        return chunks && { chunks };
      },
      put: (at: string, row: { chunks: number[] }) => changes.set(parseInt(at.slice(1), 16), row.chunks),
      del: (at: string) => changes.set(parseInt(at.slice(1), 16), undefined),
    };
    seen.set(id, apply(tx as unknown as Tx, op, id));
    if (op.refuses || batch > upToBatch) continue;
    for (const [n, chunks] of changes) {
      if (chunks === undefined) cells.delete(n);
      else cells.set(n, chunks);
    }
  }
  return { cells, seen };
}

async function contents(store: MemoryStore): Promise<Map<number, readonly number[]>> {
  const { executor } = executorOver(store);
  const { rows } = await executor.scan<"U">(0, { from: "U", to: "V", limit: 100 });
  return new Map(rows.map(({ key, row }) => [parseInt(key.slice(1), 16), row.chunks]));
}

function touched(op: Op): Set<string> {
  return new Set([...op.reads, ...op.writes, ...op.dels].map(cell));
}

test("operations on a cache of one row behave as if they ran one after the other, and show nothing undurable", async () => {
  const start = new Map([
    [1, [1]],
    [2, [2]],
  ]);
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), fc.array(operation, { minLength: 1, maxLength: 12 }), async (s, ops) => {
      const store = storeWith(Object.fromEntries(start), {
        gate: (call, when) => s.schedule(Promise.resolve(), `${when} ${call}`),
      });
      const { executor } = executorOver(store, {
        cacheBytes: 1,
        dirtyRows: 5,
        defer: (go) => void s.schedule(Promise.resolve(), "batch").then(go),
      });
      const ran = await s.waitFor(
        Promise.all(ops.map((op, i) => s.schedule(Promise.resolve(), "start").then(() => run(executor, op, i + 1)))),
      );

      const durable = executor.durable;
      const survived = await contents(store.crash({}));
      const whole = [durable, durable + 1].map((batch) => serial(ran, start, batch).cells);
      if (!whole.some((cells) => isSame(cells, survived)))
        throw new Error("a crash left something else than whole batches");

      const twin = serial(ran, start);
      for (const { id, seen } of ran)
        if (JSON.stringify(seen) !== JSON.stringify(twin.seen.get(id)))
          throw new Error(`operation ${String(id)} saw what no serial run shows`);
      for (const x of ran) {
        for (const y of ran) {
          if (y.order === undefined || y.order > x.before) continue;
          if (y.op.session === x.op.session || y.op.session === 0 || y.batch <= x.durableWhenTold) continue;
          if (y.changed.some((changed) => touched(x.op).has(changed)))
            throw new Error(`operation ${String(x.id)} was told too early`);
        }
      }
    }),
    { numRuns: 300 },
  );
});

function isSame(a: ReadonlyMap<number, readonly number[]>, b: ReadonlyMap<number, readonly number[]>): boolean {
  const text = (map: ReadonlyMap<number, readonly number[]>) => JSON.stringify([...map].sort(([x], [y]) => x - y));
  return text(a) === text(b);
}
