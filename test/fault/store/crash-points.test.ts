import fc from "fast-check";
import { test, type Test } from "tap";
import type { ChunkStore } from "../../../daemon/store/chunk-store.js";
import { Layout } from "../../../daemon/store/layout.js";
import { chunkOf, dataOf, openStore } from "../../unit/store/chunks.js";
import { MemoryDisk, type Chance } from "../../unit/store/memory-disk.js";

const layout = new Layout("/data");
const NEVER = new AbortController().signal;

type Op =
  | { readonly kind: "put"; readonly id: number; readonly sync: boolean }
  | { readonly kind: "sync" | "verify" }
  | { readonly kind: "remove" | "quarantine" | "get"; readonly id: number };

const id = fc.nat(5).map((n) => n * 200);
const op: fc.Arbitrary<Op> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("put" as const), id, sync: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom("sync" as const, "verify" as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constantFrom("remove" as const, "quarantine" as const, "get" as const), id }),
  },
);

/** A life of the store: what it is asked, at which of its calls the process dies, and how. */
const life = fc.record({
  ops: fc.array(op, { minLength: 1, maxLength: 12 }),
  at: fc.nat(40),
  isBefore: fc.boolean(),
  isPowerCut: fc.boolean(),
  isParallel: fc.boolean(),
});

const lengthOf = (chunk: number): number => (chunk % 3 === 0 ? 70_000 : chunk % 7) + 1;

/** What was told to whoever asked. */
class Model {
  /** Acknowledged as stored, and not asked to go since. */
  readonly stored = new Set<number>();
  /** Acknowledged as fsynced as well. */
  readonly synced = new Set<number>();
  /** Acknowledged as removed, and not asked for since. */
  readonly removed = new Set<number>();

  async run(store: ChunkStore, op: Op): Promise<void> {
    switch (op.kind) {
      case "put":
        this.removed.delete(op.id);
        await store.put(chunkOf(op.id, lengthOf(op.id), { sync: op.sync }));
        this.stored.add(op.id);
        if (op.sync) this.synced.add(op.id);
        return;
      case "sync":
        for (const done of (await store.sync()).synced) if (this.stored.has(done)) this.synced.add(done);
        return;
      case "verify":
        return store.verifyUnverified(NEVER);
      case "get":
        await store.get(op.id, 0, 10);
        return;
      case "remove":
      case "quarantine":
        this.stored.delete(op.id);
        this.synced.delete(op.id);
        if (op.kind === "quarantine") await store.quarantine(op.id, "asked");
        else for (const gone of await store.remove([op.id])) this.removed.add(gone);
        return;
    }
  }

  /** After a death that kept (or did not keep) what the kernel had. */
  check(t: Test, store: ChunkStore, isPowerCut: boolean): void {
    for (const chunk of isPowerCut ? this.synced : this.stored) {
      if (store.entry(chunk) === undefined) t.fail(`chunk ${chunk} is lost`);
    }
    for (const chunk of this.removed) if (store.entry(chunk) !== undefined) t.fail(`chunk ${chunk} came back`);
  }
}

test("wherever a store dies no committed chunk is lost, none is half visible, and its start removes nothing (D10, D24, D33)", async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(life, { minLength: 1, maxLength: 3 }),
      fc.infiniteStream(fc.nat()),
      async (lives, dice) => {
        const chance: Chance = (below) => (dice.next().value ?? 0) % below;
        const disk = new MemoryDisk();
        let model = new Model();
        for (const { ops, at, isBefore, isPowerCut, isParallel } of lives) {
          let calls = 0;
          disk.verdict = () => (calls++ === at ? (isBefore ? "die before" : "die after") : "do");
          await live(disk, model, ops, isParallel);
          disk.restart(isPowerCut ? chance : undefined);
          const store = await openStore(disk);
          model.check(t, store, isPowerCut);
          const removals = disk.log.filter(
            (call) => call.startsWith("remove") && !call.startsWith("remove /data/tmp/"),
          );
          if (removals.length > 0) t.fail(`the start removed ${removals.join()}`);
          await wholeAfterVerification(t, disk, store);
          model = survived(store, model);
          disk.restart(undefined);
        }
      },
    ),
    { numRuns: 400 },
  );
});

/** Does what it is asked until it dies. */
async function live(disk: MemoryDisk, model: Model, ops: readonly Op[], isParallel: boolean): Promise<void> {
  const quietly = async (store: ChunkStore, op: Op): Promise<void> => {
    try {
      await model.run(store, op);
    } catch {
      // It has died, or the chunk is not there.
    }
  };
  let store: ChunkStore;
  try {
    store = await openStore(disk);
  } catch (error) {
    if (disk.isDead) return;
    throw error;
  }
  if (!isParallel) {
    for (const op of ops) await quietly(store, op);
    return;
  }
  // At once, but what is asked of one chunk comes in order: its end would not be known otherwise.
  const last = new Map<number, Promise<void>>();
  for (const op of ops) {
    const turn = "id" in op ? op.id : -1;
    last.set(
      turn,
      (last.get(turn) ?? Promise.resolve()).then(() => quietly(store, op)),
    );
  }
  await Promise.all(last.values());
}

/** What is reported after verification is whole and right; what is not went to quarantine; the sums agree. */
async function wholeAfterVerification(t: Test, disk: MemoryDisk, store: ChunkStore): Promise<void> {
  await store.verifyUnverified(NEVER);
  let used = 0;
  for (const chunk of store.ids()) {
    const len = lengthOf(chunk);
    try {
      if (!(await store.get(chunk, 0, len)).equals(dataOf(chunk, len))) t.fail(`chunk ${chunk} has other bytes`);
    } catch (error) {
      t.fail(`chunk ${chunk} is reported and cannot be read: ${String(error)}`);
    }
    used += Math.ceil(disk.peek(layout.pathOf(chunk)).length / 4096) * 4096;
  }
  if (store.stats.used !== used) t.fail(`${store.stats.used} bytes used instead of ${used}`);
  const files = layout.folders.flatMap((folder) => disk.filesIn(folder));
  if (files.length !== store.stats.chunks) t.fail("a file among the chunks is not in the index");
}

/** What the next life starts with. */
function survived(store: ChunkStore, before: Model): Model {
  const model = new Model();
  for (const chunk of store.ids()) {
    model.stored.add(chunk);
    if (store.entry(chunk)?.synced === true) model.synced.add(chunk);
  }
  for (const chunk of before.removed) model.removed.add(chunk);
  return model;
}

test("one call that fails, whichever it is, costs at most the operation that made it", async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(op, { minLength: 1, maxLength: 12 }),
      fc.nat(40),
      fc.constantFrom("EIO", "ENOSPC", "EMFILE"),
      async (ops, at, code) => {
        const disk = new MemoryDisk();
        const store = await openStore(disk);
        const model = new Model();
        store.onLost((lost) => {
          model.stored.delete(lost);
          model.synced.delete(lost);
        });
        let calls = 0;
        disk.verdict = () => (calls++ === at ? { code } : "do");
        for (const op of ops) await model.run(store, op).catch(() => {});
        disk.verdict = () => "do";
        for (const chunk of model.stored) {
          const data = await store.get(chunk, 0, lengthOf(chunk)).catch((error: unknown) => error);
          if (!(data instanceof Buffer) || !data.equals(dataOf(chunk, lengthOf(chunk))))
            t.fail(`chunk ${chunk}: ${String(data)}`);
        }
        for (const chunk of model.removed)
          if (store.entry(chunk) !== undefined) t.fail(`chunk ${chunk} is still there`);
        for (let chunk = 0; chunk <= 1000; chunk += 200)
          await store.put(chunkOf(chunk, lengthOf(chunk), { sync: true }));
        t.equal(store.stats.chunks, 6);
      },
    ),
    { numRuns: 400 },
  );
});
