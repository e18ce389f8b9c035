import pino from "pino";
import { test } from "tap";
import { Executor } from "../../../../daemon/meta/executor.js";
import { answerFsck } from "../../../../daemon/meta/fsck/answer.js";
import { Mender } from "../../../../daemon/meta/fsck/mender.js";
import { key } from "../../../../daemon/meta/keys.js";
import { MemoryStore } from "../../../../daemon/meta/memory-store.js";
import type { DialStore, StoreCalls } from "../../../../daemon/meta/store-calls.js";
import { FsError } from "../../../../proto/errno.js";
import type { FsckFinding } from "../../../../proto/gen/bigfs/v1/meta.js";
import { NodeInfo } from "../../../../proto/gen/bigfs/v1/node.js";
import { ReplicaState, type Replica } from "../../../../proto/gen/bigfs/v1/rows.js";
import { change, good, remove } from "./tampered.js";

/** Chunks 20, 21 and 22 of the good rows, with no bytes and checksum 0. */
const SAME = { len: 0, crc: 0 };

type Disk = Map<number, typeof SAME>;

/** Two nodes that have these; `rotten`: what node 2 lists and cannot read. */
function bench(rows: Map<string, Uint8Array>, disks: readonly [Disk, Disk], rotten: readonly number[] = []) {
  const store = new MemoryStore({}, rows);
  const executor = new Executor({ store, log: pino({ level: "silent" }) });
  const nodes = [1, 2].map((id) => NodeInfo.fromPartial({ id, name: `n${id}`, state: "UP" }));
  /** What nodes were made to report, as node and chunk. */
  const held: string[] = [];
  const dialStore: DialStore = ({ id }) => {
    const disk = disks[id - 1] ?? new Map<number, typeof SAME>();
    const ask: StoreCalls["ask"] = (op) => {
      if (op.$case === "verify") {
        const found = id === 2 && rotten.includes(op.value.chunk) ? undefined : disk.get(op.value.chunk);
        if (found === undefined) return Promise.reject(new FsError("ENOENT", "it is not here"));
        return Promise.resolve({ header: found } as Awaited<ReturnType<StoreCalls["ask"]>>);
      }
      if (op.$case !== "listHeld") return Promise.reject(new FsError("ENOSYS"));
      const { from, to } = op.value;
      const chunks = [...disk.keys()].filter((chunk) => chunk >= from && chunk < to).sort((a, b) => a - b);
      const of = (what: "len" | "crc") => chunks.map((chunk) => disk.get(chunk)?.[what] ?? 0);
      const list = { chunks, lens: of("len"), crcs: of("crc"), next: to };
      return Promise.resolve({ header: { held: list } } as unknown as Awaited<ReturnType<StoreCalls["ask"]>>);
    };
    return Promise.resolve({ ask, close: () => {} } as unknown as StoreCalls);
  };
  const mender = new Mender({
    ...{ executor, dialStore },
    cluster: {
      changeChunk: async (_, rule) => (await executor.execute(0, rule)).value,
      held: (node, { chunk }) => {
        held.push(`${node} ${chunk}`);
        disks[node - 1]?.delete(chunk);
        return Promise.resolve();
      },
      status: () => ({ nodes }) as never,
    },
    recalls: { changed: () => Promise.resolve() },
    reaper: { orphaned: () => {}, unopened: () => Promise.resolve() },
  });
  const clock = {
    now: () => ({ sec: 0, nsec: 0 }),
    monotonicMs: () => 0,
    after: (ms: number, fn: () => void) => {
      if (ms <= 1000) setImmediate(fn);
      return () => {};
    },
  };
  return {
    held,
    replicas: async (chunk: number) =>
      (await executor.execute(0, (tx) => tx.get(key.chunk(chunk))?.replicas.map(({ node }) => node))).value,
    async repair() {
      const acts: FsckFinding[] = [];
      let left: FsckFinding[] = [];
      let round = 0;
      for await (const part of answerFsck({ repair: true }, { store, executor, nodes, dialStore, mender, clock })) {
        if (part.round !== round) left = [];
        round = part.round ?? 0;
        for (const one of part.findings) (one.outcome === undefined ? left : acts).push(one);
      }
      return { acts, left };
    },
  };
}

const disk = (...chunks: number[]): Disk => new Map(chunks.map((chunk) => [chunk, SAME]));
const on = (...nodes: number[]): Replica[] =>
  nodes.map((node) => ({ node, state: ReplicaState.AVAILABLE, synced: true, since: 0 }));

test("a copy that is not there is dropped when another was read whole, and never when none can be", async (t) => {
  const rows = good();
  for (const chunk of [20, 21]) change(key.chunk(chunk), { replicas: on(1, 2) })(rows);
  const at = bench(rows, [disk(22), disk(20, 21)], [21]);
  const { acts, left } = await at.repair();
  t.match(
    acts.filter(({ mended }) => mended === true),
    [{ check: "absent", chunk: 20, node: 1, outcome: "done" }],
  );
  t.equal(left.length, 1);
  t.match(left, [{ check: "absent", chunk: 21, node: 1, plan: /^when another copy/ }]);
  t.match(acts.at(-1), { chunk: 21, mended: false, outcome: /no other copy can be read, and the last one is never/ });
  t.same([await at.replicas(20), await at.replicas(21)], [[2], [1, 2]]);
  const [, only] = [change(key.chunk(20), { replicas: on(1) })(rows), bench(rows, [disk(21, 22), disk(21)])];
  t.match((await only.repair()).left, [{ check: "absent", chunk: 20, plan: undefined, refusal: /last one is never/ }]);
});

test("a copy that is not listed is, when it was read whole; one of other bytes is dropped and told as held", async (t) => {
  const rows = good();
  change(key.chunk(21), { replicas: on(1, 2) })(rows);
  const other = new Map([...disk(20), [21, { len: 5, crc: 6 }] as const, [22, SAME] as const]);
  const at = bench(rows, [disk(20, 21, 22), other], [22]);
  const { acts } = await at.repair();
  t.same(
    acts.filter(({ mended }) => mended === true).map(({ check, chunk }) => `${check} ${chunk}`),
    ["unlisted 20", "differs 21"],
  );
  t.same(at.held, ["2 20", "2 21"]);
  t.match(
    acts.find(({ chunk }) => chunk === 22),
    { mended: false, outcome: /cannot be read whole/ },
  );
  t.same(await at.replicas(21), [1]);
});

test("a chunk that nobody knows is told as held, unless a file needs it: then its bytes stay where they are", async (t) => {
  const rows = good();
  remove(key.chunk(20))(rows);
  const at = bench(rows, [disk(20, 21, 22, 99), disk()]);
  const { acts, left } = await at.repair();
  t.same(at.held, ["1 99"]);
  t.equal(acts.length, 1);
  t.equal(left.length, 2);
  t.match(left, [
    { check: "missing", chunk: 20 },
    { check: "unknown", chunk: 20, plan: undefined, refusal: /bytes stay there/, paths: [Buffer.from("/sub/f")] },
  ]);
});
