import { createServer, type AddressInfo } from "node:net";
import { readdir } from "node:fs/promises";
import { pino } from "pino";
import { test } from "tap";
import { systemClock } from "../../../daemon/common/clock.js";
import { DEADLINES } from "../../../daemon/common/deadlines.js";
import { StartupError } from "../../../daemon/common/running.js";
import { startMeta } from "../../../daemon/meta/daemon.js";
import { KEY, MetaHarness } from "../../helpers/meta-harness.js";

const base = {
  key: KEY,
  create: { chunkSize: 65536, replicas: 2, minReplicas: 2 },
  deadlines: DEADLINES,
  log: pino({ level: "silent" }),
  clock: systemClock,
};

test("a second daemon on the same folder, or on a port that is taken, is refused and leaves nothing", async (t) => {
  const harness = await MetaHarness.start(t, { sqlite: true });
  const second = startMeta({ ...base, data: harness.data, listen: "127.0.0.1:0" });
  await t.rejects(second, { name: "StartupError", message: /in use/ });
  t.equal((await harness.status()).phase, "serve", "the first one does not mind");

  const other = t.testdir();
  const taken = startMeta({ ...base, data: other, listen: harness.address });
  await t.rejects(taken, { name: "StartupError", message: /taken/ });
  const busy = createServer();
  await new Promise<void>((resolve) => busy.listen(0, "127.0.0.1", resolve));
  t.teardown(() => void busy.close());
  const http = `127.0.0.1:${(busy.address() as AddressInfo).port}`;
  await t.rejects(startMeta({ ...base, data: other, listen: "127.0.0.1:0", http }), StartupError);
  const left = await readdir(other);
  t.notOk(
    left.some((name) => name.startsWith("lock")),
    "the folder is free",
  );
  const running = await startMeta({ ...base, data: other, listen: "127.0.0.1:0" });
  await running.stop();
  t.equal(await running.ended, undefined);
});

test("a volume is the same one after a stop, and has what it was made with", async (t) => {
  const harness = await MetaHarness.start(t, { sqlite: true, replicas: 3 });
  const client = await harness.client();
  const ino = await client.create(1, "kept");
  const { volume } = await harness.status();
  await client.call("goodbye", {});
  await harness.running.stop();
  const running = await startMeta({ ...base, data: harness.data, listen: harness.address });
  harness.running = running;
  t.match(await harness.status(), { volume, replicas: 3, phase: "serve", inodes: 2 });
  const later = await harness.client();
  t.equal((await later.lookup(1, "kept")).attr?.ino, ino);
});

test("figures and health are served over http", async (t) => {
  const harness = await MetaHarness.start(t, { http: "127.0.0.1:0" });
  const client = await harness.client();
  const { http } = harness.logs.map((line) => JSON.parse(line) as { http?: string }).find((log) => log.http) ?? {};
  await client.create(1, "f");
  const metrics = await (await fetch(`http://${http}/metrics`)).text();
  t.match(metrics, /bigfs_meta_sessions_count 1/);
  t.match(metrics, /bigfs_meta_operation_seconds_count\{op="make"\} 1/);
  const health = await fetch(`http://${http}/healthz`);
  t.equal(health.status, 200);
  t.match(await health.json(), { ok: true, phase: "serve" });
});
