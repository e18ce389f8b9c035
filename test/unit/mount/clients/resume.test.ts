import { test } from "tap";
import type { SessionRecord } from "../../../../mount/clients/meta-client.js";
import { VOLUME, connected, mkdir } from "./scripted-meta.js";

const VOLUME_INFO = { volume: VOLUME, chunkSize: 65536, replicas: 2, minReplicas: 2 };

test("who takes the place of a process that died goes on with its session, beyond all that it has asked", async (t) => {
  const firstId = 2 ** 40;
  const begun: SessionRecord[] = [];
  const resume = { session: 11, volume: VOLUME_INFO, firstId };
  const { meta, client, events } = await connected(t, { resume, onSession: (record) => begun.push(record) });
  t.same(client.volume, VOLUME_INFO, "the volume is known before the daemon is there");
  const made = mkdir(client, "made");
  const [make] = await meta.some("make");
  t.ok((make?.id ?? 0) > firstId);
  t.match(meta.attaches, [{ op: { value: { session: 11, open: [], locks: [] } } }]);
  meta.done(make, 1, 0);
  await made;
  t.same(events.log, ["uncached"]);
  t.same(begun, [], "no session began");
});

test("a session that was given up meanwhile is followed by another one, and that is told", async (t) => {
  const begun: SessionRecord[] = [];
  const resume = { session: 11, volume: VOLUME_INFO, firstId: 2 ** 40 };
  const attach = () => ({ session: 12 });
  const { meta, client, events } = await connected(t, { resume, attach, onSession: (record) => begun.push(record) });
  const made = mkdir(client, "made");
  meta.done((await meta.some("make"))[0], 1, 0);
  await made;
  t.same(events.log, ["fenced"]);
  t.same(begun, [{ session: 12, volume: VOLUME_INFO }]);
});
