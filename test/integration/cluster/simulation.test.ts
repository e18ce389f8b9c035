/**
 * Random histories of a small cluster: nodes come, go, lose chunks and dawdle, sessions write, delete and die, the
 * metadata daemon crashes. Safety at every step, and when the world has calmed down everything is as it should be.
 */
import fc from "fast-check";
import { test } from "tap";
import { key } from "../../../daemon/meta/keys.js";
import { makeGarbage } from "../../../daemon/meta/rules/chunks.js";
import { FsError } from "../../../proto/errno.js";
import { ClusterBench, stored } from "../../helpers/cluster-bench.js";
import { settle } from "../../helpers/fake-clock.js";
import { DiskNode } from "./fleet.js";

const DEADLINES = {
  nodeDownMs: 2000,
  confirmMs: 1000,
  cleanMs: 2000,
  deleteDelayMs: 3000,
  orphanGraceMs: 3000,
  heartbeatMs: 500,
};
const OPTS = { replicas: 2, minReplicas: 2, deadlines: DEADLINES };
const NAMES = ["a", "b", "c", "d"];

type Step =
  | { readonly do: "write"; readonly commit: boolean; readonly primary: number; readonly second: number }
  | { readonly do: "store"; readonly on: number }
  | { readonly do: "drop"; readonly pick: number }
  | { readonly do: "down" | "up" | "lazy" | "busy" | "drain" | "stay"; readonly on: number }
  | { readonly do: "replicas"; readonly count: number }
  | { readonly do: "lose" | "power cut"; readonly pick: number; readonly on: number }
  | { readonly do: "end session" | "crash" }
  | { readonly do: "pass"; readonly ms: number };

const node = fc.nat(NAMES.length - 1);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant("write" as const), commit: fc.boolean(), primary: node, second: node }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("store" as const), on: node }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("drop" as const), pick: fc.nat() }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constantFrom("down" as const, "up" as const, "lazy" as const, "busy" as const),
      on: node,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constantFrom("lose" as const, "power cut" as const), pick: fc.nat(), on: node }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom("drain" as const, "stay" as const), on: node }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("replicas" as const), count: fc.integer({ min: 2, max: 3 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("end session" as const, "crash" as const) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("pass" as const), ms: fc.integer({ min: 100, max: 4000 }) }) },
);

/** The world: the model says which chunks files name, the disks say what is really there. */
class World {
  readonly fleet = new Map<string, DiskNode>();
  /** Chunks that a file names, durably. */
  readonly named = new Set<number>();
  /** Chunks of which at some time no disk had a copy. */
  readonly hopeless = new Set<number>();
  readonly wrong: string[] = [];
  /** So many copies of what is named stay, whatever is removed. */
  #fewest = OPTS.replicas;
  #session = 100;
  #next = 0;

  private constructor(public bench: ClusterBench) {
    for (const name of NAMES) {
      const disk = new DiskNode(this.fleet, name);
      disk.onRemove = (chunk) => this.#removes(disk, chunk);
      this.fleet.set(name, disk);
    }
  }

  static async make(): Promise<World> {
    const world = new World(await ClusterBench.make(OPTS));
    for (const disk of world.disks) await disk.up(world.bench);
    world.#next = await world.bench.session(world.#session);
    world.bench.cluster.start();
    await settle();
    return world;
  }

  get disks(): DiskNode[] {
    return [...this.fleet.values()];
  }

  async run(step: Step): Promise<void> {
    await this.#do(step);
    for (const chunk of this.named) {
      if (!this.disks.some((disk) => disk.disk.has(chunk))) this.hopeless.add(chunk);
      if (this.disks.some((disk) => disk.quarantine.has(chunk))) throw new Error(`chunk ${chunk} was quarantined`);
    }
  }

  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 500) {
      for (const disk of this.disks) void disk.node?.heartbeat();
      await this.bench.clock.advance(Math.min(500, left));
    }
  }

  async #do(step: Step): Promise<void> {
    const at = (i: number) => this.disks[i] as DiskNode;
    switch (step.do) {
      case "write":
        return this.#write(at(step.primary), at(step.second), step.commit);
      case "store":
        at(step.on).disk.set(this.#next, this.#next % 1000);
        this.#next++;
        return;
      case "drop":
        return this.#drop(step.pick);
      case "down":
        return at(step.on).down();
      case "up":
        if (at(step.on).node === undefined) await at(step.on).up(this.bench);
        return;
      case "lazy":
      case "busy":
        at(step.on).isLazy = step.do === "lazy";
        return;
      case "drain":
      case "stay":
        return this.#drain(at(step.on), step.do === "drain");
      case "replicas":
        return this.#setReplicas(step.count);
      case "lose":
        return this.#lose(at(step.on), step.pick);
      case "power cut":
        await at(step.on).down();
        return this.#lose(at(step.on), step.pick);
      case "end session":
        await this.bench.endSession(this.#session++);
        this.#next = await this.bench.session(this.#session);
        return;
      case "crash":
        return this.crash();
      case "pass":
        return this.pass(step.ms);
    }
  }

  async #write(primary: DiskNode, second: DiskNode, commit: boolean): Promise<void> {
    const { node } = primary;
    if (primary === second || node === undefined || second.node === undefined) return;
    const chunk = this.#next++;
    const crc = chunk % 1000;
    primary.disk.set(chunk, crc);
    second.disk.set(chunk, crc);
    const reply = await node.register([stored(chunk, [node.id, second.id], { crc })]);
    if (reply.errno !== "" || !commit) return;
    await this.bench.refer(chunk);
    this.named.add(chunk);
  }

  /** Of what is named only what is too many may go. */
  #removes(disk: DiskNode, chunk: number): void {
    const others = this.disks.filter((other) => other !== disk && other.disk.has(chunk));
    if (!this.named.has(chunk) || others.length >= this.#fewest) return;
    this.wrong.push(`chunk ${chunk} is named and was removed at ${disk.name}: ${others.length} copies are left`);
  }

  /** Losing the last copy is the world's fault and proves nothing. */
  async #lose(disk: DiskNode, pick: number): Promise<void> {
    const held = [...disk.disk.keys()].filter((chunk) => this.named.has(chunk));
    const chunk = held[pick % Math.max(1, held.length)];
    if (chunk === undefined) return;
    if (this.disks.some((other) => other !== disk && other.disk.has(chunk))) await disk.lose(chunk);
  }

  async #drain(disk: DiskNode, draining: boolean): Promise<void> {
    try {
      await this.bench.cluster.setNode({ node: disk.id, draining });
    } catch (error) {
      if (!(error instanceof FsError) || error.errno !== "EBUSY") throw error;
    }
  }

  async #setReplicas(replicas: number): Promise<void> {
    // What was decided before may be carried out meanwhile.
    this.#fewest = Math.min(this.#fewest, replicas);
    await this.bench.change(key.volume, (volume) => ({ ...volume, replicas }));
    Object.assign(this.bench.volume, { replicas });
    this.bench.cluster.settingsChanged();
    await settle();
    this.#fewest = replicas;
  }

  async #drop(pick: number): Promise<void> {
    const chunk = [...this.named][pick % Math.max(1, this.named.size)];
    if (chunk === undefined) return;
    this.named.delete(chunk);
    await this.bench.executor.execute(0, (tx) => {
      const row = tx.get(key.chunk(chunk));
      if (row !== undefined) makeGarbage(tx, { ...row, refs: 0 }, { ino: 0, version: 0 });
    });
  }

  async crash(): Promise<void> {
    await this.bench.executor.drained();
    const store = this.bench.store.crash();
    for (const disk of this.disks) await disk.down();
    await this.bench.stop();
    this.bench = await ClusterBench.make(OPTS, store);
    await this.bench.clock.advance(0);
    for (const disk of this.disks) await disk.up(this.bench);
    this.bench.cluster.start();
    await settle();
  }

  /** Every node is there and does its work, the session has ended, and time passes. */
  async calm(): Promise<void> {
    for (const disk of this.disks) {
      disk.isLazy = false;
      await disk.down();
      await disk.up(this.bench);
    }
    await this.#setReplicas(2);
    await this.bench.endSession(this.#session);
    await this.pass(60_000);
  }

  #isDrained(id: number): boolean {
    return this.bench.cluster.map().nodes.some((one) => one.id === id && one.state === "DRAINING");
  }

  async check(): Promise<string[]> {
    const wrong = [...this.wrong];
    const { rows } = await this.bench.executor.scan<"K">(0, { from: "K", to: "L", limit: 10_000 });
    for (const { row } of rows) {
      if (!this.named.has(row.id)) wrong.push(`chunk ${row.id} is named by nobody and was not cleaned`);
      for (const copy of row.replicas) {
        const disk = this.disks.find((each) => each.id === copy.node);
        if (disk?.disk.has(row.id) !== true)
          wrong.push(`a copy of ${row.id} is listed on ${copy.node} and is not there`);
      }
      const drained = row.replicas.filter(({ node: id }) => this.#isDrained(id));
      if (drained.length > 0 && !this.hopeless.has(row.id)) wrong.push(`a copy of ${row.id} is on a drained node`);
      const isRight = row.replicas.length === 2 || this.hopeless.has(row.id);
      if (!isRight) wrong.push(`chunk ${row.id} has ${row.replicas.length} copies`);
    }
    for (const chunk of this.named) if (!rows.some(({ row }) => row.id === chunk)) wrong.push(`no row of ${chunk}`);
    for (const disk of this.disks) {
      for (const chunk of disk.disk.keys()) if (!this.named.has(chunk)) wrong.push(`${disk.name} still holds ${chunk}`);
    }
    const { pending, garbage, underReplicated } = this.bench.cluster.status();
    const lost = [...this.named].filter((chunk) => this.hopeless.has(chunk)).length;
    if (pending + garbage > 0 || underReplicated > lost)
      wrong.push(JSON.stringify({ pending, garbage, underReplicated }));
    return wrong;
  }
}

test("D9, D13: whatever happens, nothing that is named and not too much is removed, and afterwards all is replicated and cleaned", async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
      const world = await World.make();
      try {
        for (const each of steps) await world.run(each);
        await world.calm();
        const wrong = await world.check();
        if (wrong.length > 0) throw new Error(wrong.join("\n"));
      } finally {
        await world.bench.stop();
      }
    }),
    { numRuns: Number(process.env["BIGFS_RUNS"] ?? 25), seed: Number(process.env["BIGFS_SEED"] ?? 5) },
  );
  t.pass("no history broke it");
});
