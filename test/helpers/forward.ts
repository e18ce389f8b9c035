import { writeSync } from "node:fs";
import { connect, createServer } from "node:net";

/** A process that passes connections on, as a router with a forwarded port does: HOST PORT, INTO_HOST INTO_PORT. */
const [, , host, port, intoHost, intoPort] = process.argv;

createServer((near) => {
  const far = connect(Number(intoPort), intoHost ?? "");
  near.pipe(far).pipe(near);
  for (const [one, other] of [
    [near, far],
    [far, near],
  ] as const) {
    one.on("error", () => other.destroy());
    one.on("close", () => other.destroy());
  }
}).listen(Number(port), host, () => writeSync(3, "ready\n"));
