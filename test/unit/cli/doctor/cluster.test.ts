import { test } from "tap";
import { judgeCluster, unreachable, type ClusterFacts } from "../../../../daemon/cli/doctor/cluster.js";
import { StatusReply } from "../../../../proto/gen/bigfs/v1/meta.js";
import { NodeInfo } from "../../../../proto/gen/bigfs/v1/node.js";

const node = (n: number, changes: Partial<NodeInfo> = {}) =>
  NodeInfo.fromPartial({
    ...{ id: n, name: `store${n}`, address: `10.0.0.${n}:50051`, zone: `host${n}`, state: "UP" },
    ...{ capacity: 1000, used: 100 },
    ...changes,
  });

const found = (status: Partial<StatusReply>, facts: Partial<ClusterFacts> = {}) =>
  judgeCluster({
    meta: "10.0.0.1:50052",
    status: StatusReply.fromPartial({
      ...{ volume: "v", phase: "serve", replicas: 2, minReplicas: 2, chunks: 10 },
      nodes: [node(1), node(2), node(3)],
      ...status,
    }),
    skewMs: 0,
    skewErrorMs: 1,
    ...facts,
  }).filter(({ level }) => level !== "ok");

test("a good cluster has nothing to fix", async (t) => t.same(found({}), []));

test("nodes that are down, or away, are named", async (t) => {
  const nodes = [node(1), node(2), node(3, { state: "DOWN" }), node(4, { state: "SUSPECT" })];
  t.match(found({ nodes }), [
    { level: "warning", check: "node-state", what: /store3 .* is down/, fix: /bigfsd store/ },
    { level: "warning", check: "node-state", what: /store4 .* has lost/ },
  ]);
});

test("too few nodes for all copies is a warning, for any write an error", async (t) => {
  const nodes = [node(1), node(2), node(3, { state: "DRAINING" })];
  t.match(found({ nodes, replicas: 3 })[0], { level: "warning", check: "nodes" });
  t.match(found({ nodes, replicas: 3, minReplicas: 3 })[0], { level: "error", check: "nodes", fix: /10.0.0.1:50052/ });
  const removed = [node(1), node(2), node(3, { state: "RETIRED" })];
  t.match(found({ nodes: removed, replicas: 3 })[0], { what: /^2 of 2 / }, "one that was removed is none");
  t.match(found({ nodes: [] })[0], { level: "error", what: /^0 of 0/ });
});

test("copies that would be lost together are a warning", async (t) => {
  const together = [1, 2, 3].map((n) => node(n, { address: `127.0.0.1:${n}` }));
  t.match(found({ nodes: together }), [{ level: "warning", check: "hosts", what: /one host \(127.0.0.1\)/ }]);
  t.same(found({ nodes: together, replicas: 1, minReplicas: 1 }), []);
  const zone = [1, 2, 3].map((n) => node(n, { zone: "rack1" }));
  t.match(found({ nodes: zone }), [{ level: "warning", check: "zones", what: /one zone/, fix: /node set/ }]);
  const dead = [node(1), node(2, { zone: "host1" }), node(3, { state: "DOWN" })];
  t.match(found({ nodes: dead })[1], { check: "zones" });
});

test("nodes that are nearly full are a warning, full ones an error", async (t) => {
  const of = (used: number) => found({ nodes: [node(1, { used }), node(2), node(3)] });
  t.same(of(899), []);
  t.match(of(900), [{ level: "warning", check: "node-space", what: /store1 is 90 % full/ }]);
  t.match(of(980), [{ level: "error", check: "node-space" }]);
});

test("missing, late and unsynced copies are told, those that were just ordered are not", async (t) => {
  t.match(found({ underReplicated: 3 }), [{ level: "warning", check: "copies", what: /^3 of 10 chunks/ }]);
  t.same(found({ pending: 3, oldestPendingSec: 5, unsynced: 4, oldestUnsyncedSec: 2 }), []);
  t.match(found({ pending: 3, oldestPendingSec: 500 }), [{ level: "warning", check: "pending" }]);
  t.match(found({ unsynced: 4, oldestUnsyncedSec: 500 }), [{ level: "warning", check: "unsynced" }]);
});

test("clocks that differ by more than the measurement may be wrong are a warning", async (t) => {
  t.match(found({}, { skewMs: -1500 }), [{ level: "warning", check: "clock", what: /1.5 s apart/, fix: /set-ntp/ }]);
  t.match(found({}, { skewMs: 1500 }), [{ level: "warning", check: "clock" }]);
  t.same(found({}, { skewMs: 1500, skewErrorMs: 600 }), []);
  t.same(found({}, { skewMs: 900 }), []);
});

test("a daemon that does not serve yet is noted, one that is not there an error", async (t) => {
  t.match(found({ phase: "reconnect" }), [{ level: "note", check: "phase" }]);
  t.match(unreachable("h:1", "h:1 cannot be reached"), { level: "error", check: "reachable", fix: /--listen h:1/ });
});
