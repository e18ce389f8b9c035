import { test } from "tap";
import { ReplicaState } from "../../../../proto/gen/bigfs/v1/rows.js";
import { key } from "../../../../daemon/meta/keys.js";
import * as chunks from "../../../../daemon/meta/rules/chunks.js";
import { settleFound } from "../../../../daemon/meta/rules/found.js";
import { CHUNKS_PER_RANGE, rangeOf, takeChunkRange } from "../../../../daemon/meta/rules/ranges.js";
import { checkData } from "./data-invariants.js";
import { World } from "./world.js";

const COPIES = { len: 4, crc: 1, nodes: [1, 2], synced: [1], pending: [3] };

function states(world: World, chunk: number): string[] {
  const replicas = world.rows.get(key.chunk(chunk))?.replicas ?? [];
  return replicas.map(({ node, state, synced }) => {
    const name = {
      [ReplicaState.PENDING]: "pending",
      [ReplicaState.AVAILABLE]: "there",
      [ReplicaState.DELETING]: "deleting",
    };
    return `${node} ${name[state as 1 | 2 | 3]}${synced ? " synced" : ""}`;
  });
}

/** A world, and an id of its session that no chunk has yet. */
function fresh(): { world: World; id: number } {
  const world = new World();
  return { world, id: world.store(Buffer.from("data")) + 1 };
}

function endSession(world: World): void {
  const session = world.rows.get(key.session(7));
  if (session === undefined) throw new Error("the session is there");
  world.rows.run((tx) => {
    tx.put(key.session(7), { ...session, ended: true });
  });
}

test("ranges of chunk ids are aligned, never overlap and never come twice", (t) => {
  const world = new World();
  const first = world.rows.run((tx) => takeChunkRange(tx, 7)).first;
  const second = world.rows.run((tx) => takeChunkRange(tx, 8)).first;
  t.equal(first % CHUNKS_PER_RANGE, 0);
  t.ok(second >= first + CHUNKS_PER_RANGE);
  t.equal(rangeOf(first + CHUNKS_PER_RANGE - 1), first);
  t.equal(world.rows.get(key.range(second))?.session, 8);
  t.end();
});

test("a chunk is registered once, with the copies that stand and those that shall follow", (t) => {
  const { world, id } = fresh();
  const register = (more: object = {}): string => {
    return world.rows.run((tx) => chunks.registerChunk(tx, { chunk: id, ...COPIES, ...more }));
  };
  t.equal(register(), "recorded");
  t.same(states(world, id), ["1 there synced", "2 there", "3 pending"]);
  t.equal(register({ nodes: [3], synced: [], pending: [1] }), "recorded");
  t.same(states(world, id), ["1 there synced", "2 there", "3 there"]);
  t.equal(
    world.errno(() => register({ crc: 2 })),
    "EIO",
  );
  t.equal(
    world.errno(() => register({ len: 5 })),
    "EIO",
  );
  t.end();
});

test("a chunk of an ended session is garbage, and one of no known range is nobody's to delete", (t) => {
  const { world, id } = fresh();
  endSession(world);
  const register = (chunk: number): string => world.rows.run((tx) => chunks.registerChunk(tx, { chunk, ...COPIES }));
  t.equal(register(id), "garbage");
  t.equal(register(id), "garbage");
  t.equal(register(5 * CHUNKS_PER_RANGE), "unknown");
  t.equal(world.rows.get(key.chunk(5 * CHUNKS_PER_RANGE)), undefined);
  checkData(world);
  t.end();
});

test("what was never committed is abandoned when its session has ended, and what is named is not", (t) => {
  const { world, id } = fresh();
  const ino = world.make("f");
  world.write(ino, 0, Buffer.from("data"));
  world.rows.run((tx) => chunks.registerChunk(tx, { chunk: id + 5, ...COPIES }));
  const abandon = (chunk: number): boolean => world.rows.run((tx) => chunks.abandonChunk(tx, chunk));
  t.notOk(abandon(id + 5), "the session lives");
  endSession(world);
  t.ok(abandon(id + 5));
  t.notOk(abandon(id + 5));
  t.notOk(abandon(id), "a file names it");
  checkData(world);
  t.end();
});

test("copies are confirmed, assigned, dropped when they are late, and lost", (t) => {
  const { world, id } = fresh();
  const run = world.rows.run.bind(world.rows);
  run((tx) => chunks.registerChunk(tx, { chunk: id, ...COPIES }));
  t.equal(
    run((tx) => chunks.confirmChunk(tx, 3, { chunk: id, len: 4, crc: 1, synced: [3] })),
    "recorded",
  );
  t.ok(run((tx) => chunks.syncedChunk(tx, 2, id)));
  t.notOk(run((tx) => chunks.syncedChunk(tx, 9, id)));
  t.same(states(world, id), ["1 there synced", "2 there synced", "3 there synced"]);
  t.equal(
    run((tx) => chunks.assignReplica(tx, id, 3)),
    undefined,
  );
  run((tx) => chunks.assignReplica(tx, id, 4));
  t.same(
    run((tx) => chunks.dropPending(tx, id, -1)),
    [],
  );
  t.same(
    run((tx) => chunks.dropPending(tx, id, 0)),
    [4],
  );
  run((tx) => chunks.lostReplica(tx, 1, id));
  t.same(states(world, id), ["2 there synced", "3 there synced"]);
  t.equal(
    run((tx) => chunks.confirmChunk(tx, 1, { chunk: id + 9, len: 4, crc: 1, synced: [] })),
    "unknown",
  );
  t.equal(
    world.errno(() => run((tx) => chunks.confirmChunk(tx, 1, { chunk: id, len: 4, crc: 9, synced: [] }))),
    "EIO",
  );
  t.end();
});

test("deletion goes in two phases, and a copy that turns up in between is deleted too", (t) => {
  const { world, id } = fresh();
  const run = world.rows.run.bind(world.rows);
  endSession(world);
  run((tx) => chunks.registerChunk(tx, { chunk: id, ...COPIES, pending: [] }));
  t.equal(
    run((tx) => chunks.beginDelete(tx, id, 0)),
    undefined,
    "slots may name it",
  );
  t.same(
    run((tx) => settleFound(tx, id, [])),
    [],
  );
  t.equal(
    run((tx) => chunks.beginDelete(tx, id, -1)),
    undefined,
    "too young",
  );
  t.same(
    run((tx) => chunks.beginDelete(tx, id, 0)),
    [1, 2],
  );
  t.same(states(world, id), ["1 deleting synced", "2 deleting"]);
  t.equal(
    run((tx) => chunks.confirmChunk(tx, 4, { chunk: id, len: 4, crc: 1, synced: [] })),
    "deleting",
  );
  t.same(
    run((tx) => chunks.beginDelete(tx, id, 0)),
    [1, 2, 4],
    "asked again, it says who is left",
  );
  checkData(world);
  run((tx) => chunks.removedChunk(tx, 1, id));
  run((tx) => chunks.lostReplica(tx, 4, id));
  checkData(world);
  t.ok(world.rows.get(key.chunk(id)));
  run((tx) => chunks.removedChunk(tx, 2, id));
  t.equal(world.rows.get(key.chunk(id)), undefined);
  t.equal(world.rows.get(key.garbage(id)), undefined);
  t.end();
});

test("a node that says it has removed what nobody told it to has lost a copy", (t) => {
  const { world, id } = fresh();
  world.rows.run((tx) => chunks.registerChunk(tx, { chunk: id, ...COPIES }));
  for (const node of [1, 2, 3]) world.rows.run((tx) => chunks.removedChunk(tx, node, id));
  t.same(states(world, id), []);
  t.ok(world.rows.get(key.chunk(id)), "it stays on record");
  t.end();
});

test("garbage that is named again before its deletion is recorded is saved", (t) => {
  const { world } = fresh();
  const ino = world.make("f");
  const slices = world.chunkAt(0, Buffer.from("data"));
  const id = slices[0]?.slice.chunk ?? 0;
  world.commit(ino, { slices });
  world.truncate(ino, 0);
  t.ok(world.rows.get(key.garbage(id)));
  world.commit(ino, { slices });
  t.equal(world.rows.get(key.garbage(id)), undefined);
  checkData(world);
  world.truncate(ino, 0);
  for (const node of [1, 2]) world.synced(node, id);
  t.same(world.beginDelete(id), [1, 2, 3]);
  t.equal(
    world.errno(() => world.commit(ino, { slices })),
    "EIO",
  );
  t.end();
});
