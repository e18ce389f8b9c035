import { test, type Test } from "tap";
import { key } from "../../../daemon/meta/keys.js";
import { ReplicaState } from "../../../proto/gen/bigfs/v1/rows.js";
import { ClusterBench, stored, type BenchOptions } from "../../helpers/cluster-bench.js";
import { settle } from "../../helpers/fake-clock.js";
import { DiskNode } from "./fleet.js";

const DEADLINES = { nodeDownMs: 2000, confirmMs: 1000, cleanMs: 2000, heartbeatMs: 500 };

/** Nodes with disks, and chunks that files name. */
class Fleet {
  readonly disks: DiskNode[] = [];
  readonly #byName = new Map<string, DiskNode>();
  readonly wrong: string[] = [];
  chunks: number[] = [];

  constructor(
    public bench: ClusterBench,
    private readonly opts: BenchOptions,
  ) {}

  static async make(t: Test, names: string, opts: BenchOptions = {}): Promise<Fleet> {
    const all = { ...opts, deadlines: DEADLINES };
    const fleet = new Fleet(await ClusterBench.make(all), all);
    t.teardown(() => fleet.bench.stop());
    for (const name of names) await fleet.add(name);
    fleet.bench.cluster.start();
    await settle();
    return fleet;
  }

  get replicas(): number {
    return this.bench.volume.replicas;
  }

  async add(name: string): Promise<DiskNode> {
    const disk = new DiskNode(this.#byName, name);
    this.#byName.set(name, disk);
    disk.onRemove = (chunk) => {
      const others = this.disks.filter((other) => other !== disk && other.disk.has(chunk)).length;
      if (others < this.replicas) this.wrong.push(`${chunk} was removed at ${name} with ${others} others`);
    };
    this.disks.push(disk);
    await disk.up(this.bench);
    return disk;
  }

  /** Writes chunks, each on R nodes in turn. */
  async write(count: number): Promise<void> {
    const first = await this.bench.session(100 + this.chunks.length);
    for (let i = 0; i < count; i++) {
      const chunk = first + i;
      const on = Array.from({ length: this.replicas }, (_, n) => this.disks[(i + n) % this.disks.length]!);
      for (const disk of on) disk.disk.set(chunk, chunk % 1000);
      const ids = on.map((disk) => disk.id);
      await on[0]!.node?.register([stored(chunk, ids, { crc: chunk % 1000, synced: ids })]);
      await this.bench.refer(chunk);
      this.chunks.push(chunk);
    }
  }

  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 250) {
      for (const disk of this.disks) void disk.node?.heartbeat();
      await this.bench.clock.advance(250);
    }
  }

  async until(done: () => boolean): Promise<void> {
    for (let i = 0; i < 400 && !done(); i++) await this.pass(250);
    if (!done()) throw new Error("it does not come to an end");
  }

  drain(disk: DiskNode, draining = true) {
    return this.bench.cluster.setNode({ node: disk.id, draining });
  }

  left(disk: DiskNode): number {
    return this.bench.cluster.status().nodes.find(({ id }) => id === disk.id)?.copies ?? -1;
  }

  async crash(t: Test): Promise<void> {
    await this.bench.executor.drained();
    const store = this.bench.store.crash();
    for (const disk of this.disks) await disk.down();
    await this.bench.stop();
    this.bench = await ClusterBench.make(this.opts, store);
    const { bench } = this;
    t.teardown(() => bench.stop());
    await bench.clock.advance(0);
    for (const disk of this.disks) await disk.up(bench);
    bench.cluster.start();
    await settle();
  }

  /** Every chunk has exactly R copies, all where they are listed. */
  async check(t: Test, gone: readonly DiskNode[] = []): Promise<void> {
    const bad: string[] = [...this.wrong];
    for (const chunk of this.chunks) {
      const row = await this.bench.mustRow(key.chunk(chunk));
      const nodes = row.replicas.filter(({ state }) => state === ReplicaState.AVAILABLE).map(({ node }) => node);
      const real = this.disks.filter((disk) => disk.disk.has(chunk) && !gone.includes(disk)).map((disk) => disk.id);
      if (nodes.length !== this.replicas || nodes.sort().join() !== real.sort().join())
        bad.push(`${chunk}: listed ${nodes.join()}, stored ${real.join()}`);
    }
    t.same(bad, []);
  }
}

test("a drained node loses its copies when they stand elsewhere; then it can be removed and may not come back", async (t) => {
  const fleet = await Fleet.make(t, "abcd");
  const [a, b] = fleet.disks as [DiskNode, DiskNode];
  await fleet.write(300);
  const { cluster } = fleet.bench;
  t.match(await fleet.drain(b), { state: "DRAINING", copies: 150 });
  await t.rejects(cluster.removeNode({ node: b.id, lost: false, force: false }), {
    message: /^EBUSY: b has 1\d\d copies: wait until it is drained$/,
  });
  t.equal(cluster.status().nodes.find(({ id }) => id === b.id)?.state, "DRAINING", "it has its stream still");
  await fleet.until(() => fleet.left(b) === 0);
  t.equal(b.disk.size, 0);
  await fleet.check(t);
  t.match(cluster.status(), { underReplicated: 0, pending: 0 });
  t.match(await cluster.removeNode({ node: b.id, lost: false, force: false }), { node: { state: "RETIRED" } });
  await settle();
  t.ok(b.node?.isClosed);
  const again = fleet.bench.connect("b");
  t.match(await again.join(), { errno: "ENODEV", detail: /^node \d+ \(b\) was removed from the volume/ });
  const word = stored(fleet.chunks.at(-1)! + 1, [a.id, b.id]);
  t.match(await a.node!.register([word]), { errno: "EINVAL", detail: /names unknown nodes/ });
  fleet.disks.splice(fleet.disks.indexOf(b), 1);
  await fleet.crash(t);
  t.equal(fleet.bench.cluster.status().nodes.find(({ id }) => id === b.id)?.state, "RETIRED", "also after a restart");
});

test("D8: a drain that is cancelled half-way leaves nothing lost and no node empty for it", async (t) => {
  const fleet = await Fleet.make(t, "abcd");
  const [, b] = fleet.disks as [DiskNode, DiskNode];
  await fleet.write(400);
  const before = fleet.left(b);
  for (const disk of fleet.disks) disk.orders = 40;
  await fleet.drain(b);
  await fleet.pass(1_000);
  await fleet.drain(b, false);
  t.ok(fleet.left(b) > 0 && fleet.left(b) < before, "it was half-way");
  for (const disk of fleet.disks) disk.orders = Infinity;
  await fleet.pass(15_000);
  await fleet.check(t);
  t.ok(fleet.left(b) > 0);
  t.equal(fleet.bench.cluster.map().nodes.find(({ id }) => id === b.id)?.state, "UP");
});

test("D8: a drain goes on after a crash of the metadata daemon, whenever that comes", async (t) => {
  const fleet = await Fleet.make(t, "abcd");
  const [, b] = fleet.disks as [DiskNode, DiskNode];
  await fleet.write(400);
  await fleet.drain(b);
  for (let crashes = 0; crashes < 6; crashes++) {
    for (const disk of fleet.disks) disk.orders = 20 + crashes;
    await fleet.pass(500);
    t.ok(b.disk.size > 0, "it is not done");
    await fleet.crash(t);
  }
  for (const disk of fleet.disks) disk.orders = Infinity;
  await fleet.until(() => b.disk.size === 0);
  await fleet.pass(5_000);
  t.equal(fleet.left(b), 0);
  await fleet.check(t);
});

test("D8: two nodes are drained at once, one of which goes away for a while", async (t) => {
  const fleet = await Fleet.make(t, "abcde");
  const [, b, c] = fleet.disks as [DiskNode, DiskNode, DiskNode];
  await fleet.write(300);
  c.isLazy = true;
  await fleet.drain(b);
  await fleet.drain(c);
  await fleet.pass(500);
  await c.down();
  c.isLazy = false;
  await fleet.pass(6_000);
  t.equal(fleet.left(b), 0);
  t.ok(fleet.left(c) > 0, "nobody can tell it to remove them");
  await t.rejects(fleet.bench.cluster.removeNode({ node: c.id, lost: false, force: false }), {
    message: /^EBUSY: .*when it is gone for good: --lost$/,
  });
  await c.up(fleet.bench);
  t.equal(fleet.bench.cluster.map().nodes.find(({ id }) => id === c.id)?.state, "DRAINING");
  await fleet.until(() => fleet.left(c) === 0);
  await fleet.check(t);
});

test("a drain is refused when too few nodes or too little space would be left", async (t) => {
  const fleet = await Fleet.make(t, "abc");
  const [a, b, c] = fleet.disks as [DiskNode, DiskNode, DiskNode];
  const { cluster } = fleet.bench;
  await fleet.drain(a);
  await t.rejects(fleet.drain(b), { message: /^EBUSY: .*1 node would be left for 2 copies/ });
  t.match(await fleet.drain(a), { state: "DRAINING" }, "again is no error");
  await fleet.drain(a, false);
  await c.down();
  await fleet.pass(3_000);
  await t.rejects(fleet.drain(b), { message: /^EBUSY/ }, "a node that is down is none that is left");
  await c.up(fleet.bench);
  await b.node!.heartbeat({ used: 90 * 2 ** 30 });
  await a.node!.heartbeat({ used: 70 * 2 ** 30 });
  await c.node!.heartbeat({ used: 70 * 2 ** 30 });
  await t.rejects(fleet.drain(b), { message: /^ENOSPC/ });
  await t.rejects(cluster.setNode({ node: 99, draining: true }), { message: /^ENOENT/ });
  await t.rejects(cluster.removeNode({ node: 99, lost: false, force: false }), { message: /^ENOENT/ });
});

test("a drained node gets no copies, and zones stay apart", async (t) => {
  const fleet = await Fleet.make(t, "");
  for (const [name, zone] of Object.entries({ a: "x", b: "y", c: "x", d: "y" })) {
    const disk = await fleet.add(name);
    await fleet.bench.cluster.setNode({ node: disk.id, zone });
  }
  const [, b] = fleet.disks as [DiskNode, DiskNode];
  await fleet.write(200);
  await fleet.drain(b);
  await fleet.until(() => fleet.left(b) === 0);
  await fleet.check(t);
  const zoneOf = new Map(fleet.bench.cluster.map().nodes.map(({ id, zone }) => [id, zone]));
  for (const chunk of fleet.chunks) {
    const { replicas } = await fleet.bench.mustRow(key.chunk(chunk));
    if (new Set(replicas.map(({ node }) => zoneOf.get(node))).size !== 2) t.fail(`chunk ${chunk} is in one zone`);
  }
});

test("a node that is lost is given up at once: its copies are made again, and the last ones only by force", async (t) => {
  const fleet = await Fleet.make(t, "abc");
  const [a, b] = fleet.disks as [DiskNode, DiskNode];
  await fleet.write(200);
  const { cluster } = fleet.bench;
  await t.rejects(cluster.removeNode({ node: b.id, lost: true, force: false }), {
    message: /^EBUSY: b is not lost but UP: drain it$/,
  });
  const only = fleet.chunks.find((chunk) => a.disk.has(chunk) && b.disk.has(chunk))!;
  await b.down();
  await a.lose(only);
  await t.rejects(cluster.removeNode({ node: b.id, lost: true, force: false }), {
    message: /^EBUSY: 1 chunks have their only copy on b; with --force they are given up$/,
  });
  t.equal(cluster.map().nodes.find(({ id }) => id === b.id)?.state, "SUSPECT", "a refusal changes nothing");
  t.match(await cluster.removeNode({ node: b.id, lost: true, force: true }), { lostChunks: 1 });
  await fleet.pass(5_000);
  t.match(cluster.status(), { underReplicated: 1 });
  t.equal(fleet.left(b), 0, "no row names it");
  t.same(await fleet.bench.copies(only), []);
  fleet.chunks = fleet.chunks.filter((chunk) => chunk !== only);
  await fleet.check(t, [b]);
  await t.rejects(cluster.removeNode({ node: b.id, lost: true, force: true }), { message: /^EINVAL/ });
  await t.rejects(fleet.drain(b), { message: /^EINVAL: .*was removed/ });
});
