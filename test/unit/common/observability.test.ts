import { get } from "node:http";
import { test } from "tap";
import { serveHttp } from "../../../daemon/common/http.js";
import { createLog } from "../../../daemon/common/log.js";
import { OperationTimes, processRegistry } from "../../../daemon/common/metrics.js";
import { StartupError } from "../../../daemon/common/running.js";
import { FsError } from "../../../proto/errno.js";
import { FakeClock } from "../../helpers/fake-clock.js";

function fetch(address: string, path: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    get(`http://${address}${path}`, (response) => {
      let body = "";
      response.on("data", (part: Buffer) => (body += part.toString()));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
    }).on("error", reject);
  });
}

test("metrics and health are served; health tells by its status", async (t) => {
  const registry = processRegistry();
  let ok = true;
  const http = await serveHttp({ listen: "0", registry, health: () => ({ ok, detail: { phase: "serve" } }) });
  t.teardown(() => http.stop());
  t.match(await fetch(http.listen, "/metrics"), { status: 200, body: /bigfs_process_resident_memory_bytes/ });
  t.match(await fetch(http.listen, "/healthz"), { status: 200, body: /"phase":"serve"/ });
  ok = false;
  t.match(await fetch(http.listen, "/healthz"), { status: 503, body: /"ok":false/ });
  t.equal((await fetch(http.listen, "/nothing")).status, 404);
  const taken: unknown = await serveHttp({ listen: http.listen, registry, health: () => ({ ok, detail: {} }) }).catch(
    (error: unknown) => error,
  );
  t.type(taken, StartupError);
});

test("operations are timed, and failures counted by errno", async (t) => {
  const registry = processRegistry();
  const clock = new FakeClock();
  const times = new OperationTimes({ clock, log: createLog("test", "silent"), registry }, "test");
  await times.timed("read", async () => clock.advance(20));
  await t.rejects(
    times.timed("read", () => Promise.reject(new FsError("ENOSPC"))),
    { name: "FsError", errno: "ENOSPC" },
  );
  await t.rejects(
    times.timed("read", () => Promise.reject(new Error("bug"))),
    { message: "bug" },
  );
  const text = await registry.metrics();
  t.match(text, /bigfs_test_operation_seconds_count\{op="read"\} 3/);
  t.match(text, /bigfs_test_operation_seconds_bucket\{le="0.03",op="read"\} 3/);
  t.match(text, /bigfs_test_operation_seconds_bucket\{le="0.01",op="read"\} 2/);
  t.match(text, /bigfs_test_operation_errors_total\{op="read",errno="ENOSPC"\} 1/);
  t.match(text, /bigfs_test_operation_errors_total\{op="read",errno="EIO"\} 1/);
});
