import { test } from "tap";
import type { Cluster } from "../../../../daemon/meta/cluster/cluster.js";
import { FilesService } from "../../../../daemon/meta/files-service.js";
import { InodeIds } from "../../../../daemon/meta/ids.js";
import type { Call } from "../../../../daemon/meta/requests.js";
import { createVolume } from "../../../../daemon/meta/rules/volume.js";
import { executorOver, Gates, rejects, stateOf, storeWith } from "./lab.js";

const VOLUME = { uuid: "u", chunkSize: 65536, replicas: 2, minReplicas: 2, uid: 0, gid: 0, now: { sec: 1, nsec: 0 } };

async function started(gates = new Gates()) {
  const { executor } = executorOver(storeWith({}, { gate: gates.gate }));
  await executor.execute(0, (tx) => createVolume(tx, VOLUME));
  await executor.drained();
  return { executor, ids: new InodeIds({ executor }), gates };
}

test("ids are given once, however many are asked for at a time, and when their range is on disk", async (t) => {
  const { ids, gates } = await started();
  gates.close("before commit");
  const early = ids.takeSome(3);
  t.equal(await stateOf(early), "waiting");
  gates.open("before commit");
  const given = new Set<number>();
  let total = 0;
  const take = async (max: number) => {
    const { first, count } = await ids.takeSome(max);
    t.ok(count > 0 && count <= max);
    total += count;
    for (let i = 0; i < count; i++) given.add(first + i);
  };
  const { first, count } = await early;
  t.equal(count, 3);
  for (let i = 0; i < 60; i++) await take(i % 3 === 0 ? 256 : i);
  given.add(await ids.take());
  t.equal(given.size, total + 1);
  t.ok(Math.min(...given) >= first + count);
});

test("when nothing new can be saved no ids are given for what would be told before it is refused", async (t) => {
  const { executor, ids } = await started();
  let isLow = true;
  const files = new FilesService({ executor, ids, cluster: {} as Cluster, isLow: () => isLow });
  const call = { session: { readOnly: false }, op: { $case: "inodes", value: { count: 9 } } } as Call;
  await rejects(t, files.inodes(call), "ENOSPC");
  isLow = false;
  t.match((await files.inodes(call)).answer(), { op: { $case: "inodes", value: { count: 9 } } });
});
