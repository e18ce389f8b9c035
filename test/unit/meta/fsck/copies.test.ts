import pino from "pino";
import { test } from "tap";
import { Executor } from "../../../../daemon/meta/executor.js";
import { checkCopies, type CopyFinding } from "../../../../daemon/meta/fsck/check-copies.js";
import { key } from "../../../../daemon/meta/keys.js";
import { MemoryStore } from "../../../../daemon/meta/memory-store.js";
import { encodeRow } from "../../../../daemon/meta/row-codec.js";
import type { DialStore, StoreCalls } from "../../../../daemon/meta/store-calls.js";
import { FsError } from "../../../../proto/errno.js";
import { NodeInfo } from "../../../../proto/gen/bigfs/v1/node.js";
import { ChunkRow, RangeRow, ReplicaState, SessionRow } from "../../../../proto/gen/bigfs/v1/rows.js";
import type { HeldChunks } from "../../../../proto/gen/bigfs/v1/store.js";

const { AVAILABLE, PENDING, DELETING } = ReplicaState;
const [LEN, CRC] = [100, 7];
/** Chunks that one answer of a node has. */
const PAGE = 3;

interface Bench {
  readonly executor: Executor;
  /** What each node has: chunk -> crc. */
  readonly disks: Map<number, Map<number, number>>;
  /** Called when the checker pauses. */
  onPause: () => Promise<unknown>;
  check(nodes?: readonly NodeInfo[]): Promise<{ found: CopyFinding[]; unchecked: object[] }>;
}

function bench(rows: readonly ChunkRow[]): Bench {
  const stored = new Map(rows.map((row) => [key.chunk(row.id) as string, encodeRow(key.chunk(row.id), row)]));
  const range = RangeRow.fromPartial({ first: 1024, count: 1024, session: 5 });
  stored.set(key.range(1024), encodeRow(key.range(1024), range));
  stored.set(key.session(5), encodeRow(key.session(5), SessionRow.fromPartial({ id: 5 })));
  const executor = new Executor({ store: new MemoryStore({}, stored), log: pino({ level: "silent" }) });
  const disks = new Map<number, Map<number, number>>();
  const dialStore: DialStore = ({ id }) => {
    const ask: StoreCalls["ask"] = (op) => {
      const disk = disks.get(id);
      if (op.$case !== "listHeld" || disk === undefined)
        return Promise.reject(new FsError("EIO", "it does not answer"));
      const { from, to } = op.value;
      const ids = [...disk.keys()].filter((chunk) => chunk >= from && chunk < to).sort((a, b) => a - b);
      const page = ids.slice(0, PAGE);
      const crcs = page.map((chunk) => disk.get(chunk) ?? 0);
      const held: HeldChunks = { chunks: page, lens: page.map(() => LEN), crcs, next: ids[PAGE] ?? to };
      return Promise.resolve({ header: { held } } as Awaited<ReturnType<StoreCalls["ask"]>>);
    };
    return Promise.resolve({ ask, close: () => {} } as unknown as StoreCalls);
  };
  const self: Bench = {
    ...{ executor, disks },
    onPause: () => Promise.resolve(),
    async check(nodes = [node(1), node(2)]) {
      const clock = {
        now: () => ({ sec: 0, nsec: 0 }),
        monotonicMs: () => 0,
        after: (_: number, fn: () => void) => {
          void self.onPause().then(fn);
          return () => {};
        },
      };
      const found: CopyFinding[] = [];
      const running = checkCopies({ executor, clock, nodes, dialStore });
      for (;;) {
        const { value, done } = await running.next();
        if (done === true) return { found, unchecked: value };
        found.push(value);
      }
    },
  };
  return self;
}

function node(id: number, state = "UP"): NodeInfo {
  return NodeInfo.fromPartial({ id, name: `n${id}`, state });
}

function chunk(id: number, ...states: readonly (readonly [number, ReplicaState])[]): ChunkRow {
  const replicas = states.map(([at, state]) => ({ node: at, state }));
  return ChunkRow.fromPartial({ id, len: LEN, crc: CRC, refs: 1, replicas });
}

function told(found: readonly CopyFinding[]): string[] {
  return found.map((one) => `${one.check} ${one.chunk} ${one.node}`);
}

const disk = (...ids: number[]) => new Map(ids.map((id) => [id, CRC]));

test("nodes that have what is listed there, more or less of what is on its way, give no finding", async (t) => {
  const at = bench([
    ...[1, 2, 3, 4, 5, 6, 7].map((id) => chunk(id, [1, AVAILABLE], [2, AVAILABLE])),
    chunk(8, [1, PENDING], [2, DELETING]),
    chunk(9, [1, PENDING], [2, DELETING]),
  ]);
  at.disks.set(1, disk(1, 2, 3, 4, 5, 6, 7, 8, 1030)).set(2, disk(1, 2, 3, 4, 5, 6, 7, 9));
  at.onPause = () => Promise.reject(new Error("it was not sure"));
  t.same(await at.check(), { found: [], unchecked: [] }, "1030 is of a session that lives");
});

test("a copy that is gone, that has other bytes, that is not listed, and a chunk that is not known are found", async (t) => {
  const at = bench(
    [1, 2, 3, 4, 5].map((id) => chunk(id, [1, AVAILABLE], ...(id === 3 ? [] : [[2, AVAILABLE] as const]))),
  );
  at.disks.set(1, disk(1, 2, 3, 4, 9000)).set(2, disk(1, 2, 3, 4, 5));
  at.disks.get(2)?.set(4, CRC + 1);
  const { found } = await at.check();
  t.same(told(found).sort(), ["absent 5 1", "differs 4 2", "unknown 9000 1", "unlisted 3 2"]);
  t.match(found.find(({ check }) => check === "absent")?.what, /^chunk 5: node 1 \(n1\) does not have its copy/);
});

test("what comes to agree while it is looked at again is no finding", async (t) => {
  const at = bench([1, 2, 3, 4].map((id) => chunk(id, [1, AVAILABLE])));
  const held = disk(2, 3, 4, 9000);
  at.disks.set(1, held);
  at.onPause = async () => {
    held.set(1, CRC);
    held.delete(9000);
    held.delete(3);
    await at.executor.execute(0, (tx) => tx.put(key.chunk(3), chunk(3)));
  };
  t.same(await at.check([node(1)]), { found: [], unchecked: [] });
  at.onPause = () => Promise.resolve();
  held.delete(4);
  t.same(told((await at.check([node(1)])).found), ["absent 4 1"]);
});

test("nodes that are away, or go away, are named; the others are checked", async (t) => {
  const at = bench([chunk(1, [1, AVAILABLE], [2, AVAILABLE], [3, AVAILABLE])]);
  at.disks.set(1, disk());
  const { found, unchecked } = await at.check([node(1), node(2), node(3, "DOWN"), node(4, "RETIRED")]);
  t.same(told(found), ["absent 1 1"]);
  t.same(unchecked, [
    { node: 3, name: "n3", why: "it is DOWN" },
    { node: 2, name: "n2", why: "it does not answer" },
  ]);
});
