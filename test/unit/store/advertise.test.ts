import { test } from "tap";
import { StartupError } from "../../../daemon/common/running.js";
import { mustBeReachable } from "../../../daemon/store/advertise.js";

const meta = "10.0.0.1:50052";

test("an address by which others surely cannot reach a storage daemon is refused, with the way out", async (t) => {
  for (const [opts, what] of [
    [{ meta, listen: "0.0.0.0:50051" }, /^0\.0\.0\.0:50051 is every address/],
    [{ meta, listen: "[0::0]:50051" }, /is every address/],
    [{ meta: "127.0.0.1:50052", listen: "[::]:50051" }, /is every address/],
    [{ meta, listen: "127.0.0.1:50051" }, /^127\.0\.0\.1:50051 is reached on this machine only.* 10\.0\.0\.1:50052/],
    [{ meta, listen: "10.0.0.2:50051", advertise: "10.0.0.2" }, /'10\.0\.0\.2' is not an address: give HOST:PORT/],
    [{ meta, listen: "10.0.0.2:50051", advertise: "0.0.0.0:50051" }, /0\.0\.0\.0:50051 is no address/],
    [{ meta, listen: "10.0.0.2:0", advertise: "10.0.0.2:0" }, /10\.0\.0\.2:0 is no address/],
  ] as const) {
    try {
      mustBeReachable(opts);
      t.fail(`${JSON.stringify(opts)} was taken`);
    } catch (error) {
      t.ok(error instanceof StartupError && error.hint.includes("--advertise HOST:PORT"));
      t.match((error as Error).message, what);
    }
  }
});

test("an address that may be right is left to the metadata daemon to try", async (t) => {
  for (const opts of [
    { meta, listen: "10.0.0.2:50051" },
    { meta, listen: "node-1:0" },
    { meta, listen: "0.0.0.0:50051", advertise: "node-1:60051" },
    { meta, listen: "127.0.0.1:50051", advertise: "127.0.0.1:50051" },
    { meta: "[::1]:50052", listen: "127.0.0.1:0" },
    { meta: "localhost:50052", listen: "127.0.0.1:50051" },
  ]) {
    t.doesNotThrow(() => mustBeReachable(opts), JSON.stringify(opts));
  }
});
