import { test, type Test } from "tap";
import { key } from "../../../daemon/meta/keys.js";
import { ReplicaState } from "../../../proto/gen/bigfs/v1/rows.js";
import { ClusterBench, stored } from "../../helpers/cluster-bench.js";
import { settle } from "../../helpers/fake-clock.js";
import { DiskNode } from "./fleet.js";

const LEN = 2 ** 20;
const CHUNKS = 600;
const DEADLINES = { nodeDownMs: 20_000, confirmMs: 1000, cleanMs: 2000, heartbeatMs: 500 };

/** Chunks of 1 MiB on the nodes a, b and c, of which each has 2 GiB. */
class Fleet {
  readonly disks: DiskNode[] = [];
  readonly #byName = new Map<string, DiskNode>();
  readonly wrong: string[] = [];
  readonly chunks: number[] = [];

  private constructor(readonly bench: ClusterBench) {}

  static async make(t: Test, opts: { noRebalance?: boolean } = {}): Promise<Fleet> {
    const fleet = new Fleet(await ClusterBench.make({ deadlines: DEADLINES }));
    t.teardown(() => fleet.bench.stop());
    Object.assign(fleet.bench.volume, opts);
    for (const name of "abc") await fleet.add(name);
    fleet.bench.cluster.start();
    await settle();
    const first = await fleet.bench.session(77);
    for (let i = 0; i < CHUNKS; i++) {
      const on = [fleet.disks[i % 3]!, fleet.disks[(i + 1) % 3]!];
      const ids = on.map(({ id }) => id);
      for (const disk of on) disk.disk.set(first + i, i);
      await on[0]!.node!.register([stored(first + i, ids, { len: LEN, crc: i, synced: ids })]);
      await fleet.bench.refer(first + i);
      fleet.chunks.push(first + i);
    }
    return fleet;
  }

  async add(name: string): Promise<DiskNode> {
    const disk = new DiskNode(this.#byName, name, LEN);
    this.#byName.set(name, disk);
    disk.onRemove = (chunk) => {
      const others = this.disks.filter((other) => other !== disk && other.disk.has(chunk)).length;
      if (others < 2) this.wrong.push(`${chunk} was removed at ${name} with ${others} others`);
    };
    this.disks.push(disk);
    await disk.up(this.bench);
    return disk;
  }

  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 250) {
      for (const { node, disk } of this.disks) void node?.heartbeat({ capacity: 2 ** 31, used: disk.size * LEN });
      await this.bench.clock.advance(250);
    }
  }

  get sizes(): number[] {
    return this.disks.map(({ disk }) => disk.size);
  }

  async check(t: Test): Promise<void> {
    for (const chunk of this.chunks) {
      const { replicas } = await this.bench.mustRow(key.chunk(chunk));
      const listed = replicas.filter(({ state }) => state === ReplicaState.AVAILABLE).map(({ node }) => node);
      const real = this.disks.filter(({ disk }) => disk.has(chunk)).map(({ id }) => id);
      if (listed.length !== 2 || listed.sort().join() !== real.sort().join())
        this.wrong.push(`${chunk}: listed ${listed.join()}, stored ${real.join()}`);
    }
    t.same(this.wrong, []);
  }
}

test("D7: a new empty node gets its share, at a bounded rate, and each copy goes only when it stands elsewhere", async (t) => {
  const fleet = await Fleet.make(t);
  await fleet.pass(5_000);
  t.same(fleet.sizes, [400, 400, 400], "nothing moves while all have their share");
  const d = await fleet.add("d");
  const steps: number[] = [];
  for (let i = 0; i < 200 && d.disk.size < 270; i++) {
    const before = d.disk.size;
    await fleet.pass(250);
    steps.push(d.disk.size - before);
  }
  t.ok(steps.length > 3, "it takes its time");
  await fleet.pass(30_000);
  t.ok(
    fleet.sizes.every((size) => size >= 270 && size <= 330),
    `within a tenth of 300: ${fleet.sizes.join()}`,
  );
  await fleet.check(t);
  t.match(fleet.bench.cluster.status(), { pending: 0, surplus: 0, underReplicated: 0 });
  const still = fleet.sizes;
  await fleet.pass(30_000);
  t.same(fleet.sizes, still, "and then nothing moves any more");
});

test("not more than 32 copies are on their way at one time, and none while chunks lack copies", async (t) => {
  const fleet = await Fleet.make(t);
  const d = await fleet.add("d");
  d.isLazy = true;
  await fleet.pass(3_000);
  t.equal(fleet.bench.cluster.status().pending, 32);
  t.equal(d.disk.size, 0);
  d.isLazy = false;
  const [a] = fleet.disks as [DiskNode];
  await fleet.pass(2_000);
  for (const disk of fleet.disks) disk.orders = 0;
  for (const chunk of [...a.disk.keys()].slice(0, 5)) await a.lose(chunk);
  const { pending } = fleet.bench.cluster.status();
  await fleet.pass(500);
  t.ok(fleet.bench.cluster.status().pending <= pending + 5, "what is lost comes first");
  for (const disk of fleet.disks) disk.orders = Infinity;
  await fleet.pass(90_000);
  await fleet.check(t);
  t.ok(
    fleet.sizes.every((size) => size >= 270 && size <= 330),
    fleet.sizes.join(),
  );
});

test("copies stay where they are when rebalancing is off", async (t) => {
  const fleet = await Fleet.make(t, { noRebalance: true });
  await fleet.add("d");
  await fleet.pass(10_000);
  t.same(fleet.sizes, [400, 400, 400, 0]);
  Object.assign(fleet.bench.volume, { noRebalance: false });
  await fleet.pass(60_000);
  t.ok(
    fleet.sizes.every((size) => size >= 270 && size <= 330),
    fleet.sizes.join(),
  );
});

test("copies that had to share a zone move apart when there is another one again", async (t) => {
  const fleet = await Fleet.make(t);
  for (const { id } of fleet.disks) await fleet.bench.cluster.setNode({ node: id, zone: "x" });
  await fleet.bench.cluster.tasks.census.runOnce();
  const d = await fleet.add("d");
  await fleet.bench.cluster.tasks.census.runOnce();
  await fleet.pass(120_000);
  await fleet.check(t);
  t.equal(d.disk.size, CHUNKS, "the only node of its zone has a copy of each");
});

test("a node that cannot take copies is not asked all the time", async (t) => {
  const fleet = await Fleet.make(t);
  const d = await fleet.add("d");
  d.isFull = true;
  await fleet.pass(10_000);
  t.ok(d.ordered >= 32 && d.ordered <= 32 * 11, `${d.ordered} copies were ordered in 10 s`);
  d.isFull = false;
  await fleet.pass(60_000);
  await fleet.check(t);
  t.ok(d.disk.size >= 270, `${d.disk.size} copies`);
});
