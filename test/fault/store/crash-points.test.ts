import fc from "fast-check";
import { test } from "tap";
import type { ChunkStore } from "../../../daemon/store/chunk-store.js";
import { Layout } from "../../../daemon/common/chunks/layout.js";
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

/** A life of the store: what it is asked, at which of its disk calls (of the work, or of the start) it dies, and how. */
const life = fc.record({
  ops: fc.array(op, { minLength: 1, maxLength: 12 }),
  at: fc.oneof(
    { weight: 4, arbitrary: fc.record({ isStart: fc.constant(false), call: fc.nat(40) }) },
    { weight: 1, arbitrary: fc.record({ isStart: fc.constant(true), call: fc.nat(600) }) },
  ),
  isBefore: fc.boolean(),
  isPowerCut: fc.boolean(),
  isParallel: fc.boolean(),
});

/** Thrown, so that fast-check finds the shortest history that ends in it. */
function broken(what: string): never {
  throw new Error(what);
}

const lengthOf = (chunk: number): number => (chunk % 3 === 0 ? 70_000 : chunk % 7) + 1;

/** What was told to whoever asked. */
class Model {
  /** Acknowledged as stored, and not asked to go since. */
  readonly stored = new Set<number>();
  /** Acknowledged as fsynced as well. */
  readonly synced = new Set<number>();
  /** Acknowledged as gone, and not asked for since. */
  readonly removed = new Set<number>();

  constructor(private readonly disk: MemoryDisk) {}

  async run(store: ChunkStore, op: Op): Promise<void> {
    // Nobody asks a dead process, nor hears what it would answer.
    if (this.disk.isDead) return;
    if (op.kind === "put") this.removed.delete(op.id);
    if (op.kind === "remove" || op.kind === "quarantine") {
      this.stored.delete(op.id);
      this.synced.delete(op.id);
    }
    const acknowledged = await this.#ask(store, op);
    if (!this.disk.isDead) acknowledged();
  }

  /** Does it; returns what is then known. */
  async #ask(store: ChunkStore, op: Op): Promise<() => void> {
    switch (op.kind) {
      case "put":
        await store.put(chunkOf(op.id, lengthOf(op.id), { sync: op.sync }));
        return () => {
          this.stored.add(op.id);
          if (op.sync) this.synced.add(op.id);
        };
      case "sync": {
        const { synced } = await store.sync();
        return () => synced.filter((id) => this.stored.has(id)).forEach((id) => this.synced.add(id));
      }
      case "verify":
        await store.verifyUnverified(NEVER);
        return () => {};
      case "get":
        await store.get(op.id, 0, 10);
        return () => {};
      case "remove": {
        const gone = await store.remove([op.id]);
        return () => gone.forEach((id) => this.removed.add(id));
      }
      case "quarantine":
        await store.quarantine(op.id, "asked");
        return () => this.removed.add(op.id);
    }
  }

  /** After a death that kept (or did not keep) what the kernel had. */
  check(store: ChunkStore, isPowerCut: boolean): void {
    for (const chunk of isPowerCut ? this.synced : this.stored) {
      if (store.entry(chunk) === undefined) broken(`chunk ${chunk} is lost`);
    }
    for (const chunk of this.removed) if (store.entry(chunk) !== undefined) broken(`chunk ${chunk} came back`);
  }
}

test("wherever a store dies no committed chunk is lost, none is half visible, and its start removes nothing (D10, D24, D33)", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(life, { minLength: 1, maxLength: 3 }),
      fc.infiniteStream(fc.nat()),
      async (lives, dice) => {
        const chance: Chance = (below) => (dice.next().value ?? 0) % below;
        const disk = new MemoryDisk();
        let model = new Model(disk);
        for (const { ops, at, isBefore, isPowerCut, isParallel } of lives) {
          let calls = 0;
          const die = () => (calls++ === at.call ? (isBefore ? "die before" : "die after") : "do");
          if (at.isStart) disk.verdict = die;
          const young = await born(disk);
          if (!at.isStart) disk.verdict = die;
          if (young !== undefined) await live(young, model, ops, isParallel);
          disk.restart(isPowerCut ? chance : undefined);
          const store = await openStore(disk);
          model.check(store, isPowerCut);
          const removals = disk.log.filter(
            (call) => call.startsWith("remove") && !call.startsWith("remove /data/tmp/"),
          );
          if (removals.length > 0) broken(`the start removed ${removals.join()}`);
          await wholeAfterVerification(disk, store);
          model = survived(disk, store, model);
          disk.restart(undefined);
        }
      },
    ),
    { numRuns: 250 },
  );
});

/** undefined: it died at its start. */
async function born(disk: MemoryDisk): Promise<ChunkStore | undefined> {
  try {
    return await openStore(disk);
  } catch (error) {
    if (disk.isDead) return undefined;
    throw error;
  }
}

/** Does what it is asked until it dies. */
async function live(store: ChunkStore, model: Model, ops: readonly Op[], isParallel: boolean): Promise<void> {
  const quietly = async (op: Op): Promise<void> => {
    try {
      await model.run(store, op);
    } catch {
      // It has died, or the chunk is not there.
    }
  };
  if (!isParallel) {
    for (const op of ops) await quietly(op);
    return;
  }
  // At once, but what is asked of one chunk comes in order: its end would not be known otherwise.
  const last = new Map<number, Promise<void>>();
  for (const op of ops) {
    const turn = "id" in op ? op.id : -1;
    last.set(
      turn,
      (last.get(turn) ?? Promise.resolve()).then(() => quietly(op)),
    );
  }
  await Promise.all(last.values());
}

/** What is reported after verification is whole and right; what is not went to quarantine; the sums agree. */
async function wholeAfterVerification(disk: MemoryDisk, store: ChunkStore): Promise<void> {
  await store.verifyUnverified(NEVER);
  let used = 0;
  for (const chunk of store.ids()) {
    const len = lengthOf(chunk);
    try {
      if (!(await store.get(chunk, 0, len)).equals(dataOf(chunk, len))) broken(`chunk ${chunk} has other bytes`);
    } catch (error) {
      broken(`chunk ${chunk} is reported and cannot be read: ${String(error)}`);
    }
    used += Math.ceil(disk.peek(layout.pathOf(chunk)).length / 4096) * 4096;
  }
  if (store.stats.used !== used) broken(`${store.stats.used} bytes used instead of ${used}`);
  const files = layout.folders.flatMap((folder) => disk.filesIn(folder));
  if (files.length !== store.stats.chunks) broken("a file among the chunks is not in the index");
}

/** What the next life starts with. */
function survived(disk: MemoryDisk, store: ChunkStore, before: Model): Model {
  const model = new Model(disk);
  for (const chunk of store.ids()) {
    model.stored.add(chunk);
    if (store.entry(chunk)?.synced === true) model.synced.add(chunk);
  }
  for (const chunk of before.removed) model.removed.add(chunk);
  return model;
}

test("one call that fails, whichever it is, costs at most the operation that made it", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(op, { minLength: 1, maxLength: 12 }),
      fc.nat(40),
      fc.constantFrom("EIO", "ENOSPC", "EMFILE"),
      async (ops, at, code) => {
        const disk = new MemoryDisk();
        const store = await openStore(disk);
        const model = new Model(disk);
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
            broken(`chunk ${chunk}: ${String(data)}`);
        }
        for (const chunk of model.removed)
          if (store.entry(chunk) !== undefined) broken(`chunk ${chunk} is still there`);
        for (let chunk = 0; chunk <= 1000; chunk += 200)
          await store.put(chunkOf(chunk, lengthOf(chunk), { sync: true }));
        if (store.stats.chunks !== 6) broken(`${store.stats.chunks} chunks instead of 6`);
      },
    ),
    { numRuns: 250 },
  );
});
