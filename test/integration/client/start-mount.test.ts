import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { systemClock } from "../../../daemon/common/clock.js";
import { createLog } from "../../../daemon/common/log.js";
import { dial } from "../../../daemon/common/rpc/client.js";
import { ADMIN } from "../../../daemon/common/rpc/kinds.js";
import { StartupError } from "../../../daemon/common/running.js";
import { startMount } from "../../../mount/mount.js";
import type { MountOptions } from "../../../mount/options.js";
import type { AdminReply } from "../../../proto/gen/bigfs/v1/meta.js";
import { KEY, Lab } from "./lab.js";

async function sessionsOf(lab: Lab): Promise<string[]> {
  const link = await dial(ADMIN, lab.meta.listen, { key: KEY, role: "admin", connectMs: 5_000, clock: systemClock });
  try {
    const reply = await new Promise<AdminReply>((resolve, reject) => {
      link.open({ message: resolve, closed: reject });
      link.send({ id: 1, op: { $case: "status", value: {} } });
    });
    return reply.op?.$case === "status" ? reply.op.value.sessions.map(({ name }) => name) : ["no status"];
  } finally {
    link.close();
  }
}

test("a mount that cannot start says why and what to do, and leaves nothing behind", async (t) => {
  const lab = await Lab.start(t, { stores: 0 });
  const mountpoint = join(lab.dir, "mnt");
  await mkdir(mountpoint);
  const busy = join(lab.dir, "busy");
  await mkdir(busy);
  await writeFile(join(busy, "file"), "");
  const good: MountOptions = {
    mountpoint,
    meta: lab.meta.listen,
    key: KEY,
    readOnly: false,
    allowOther: false,
    deadlines: lab.deadlines,
    log: createLog("mount", "silent"),
    clock: systemClock,
  };
  const refusals: [string, Partial<MountOptions>, RegExp, string | undefined][] = [
    ["a folder that is not empty", { mountpoint: busy, meta: "127.0.0.1:1" }, /empty/, undefined],
    ["no folder", { mountpoint: join(lab.dir, "none") }, /does not exist/, undefined],
    ["another key", { key: Buffer.alloc(32, 99) }, /another cluster key/, "EACCES"],
    ["nobody there", { meta: "127.0.0.1:1" }, /cannot be reached/, "ECONNREFUSED"],
    ["a port that is taken", { http: lab.meta.listen }, /taken/, undefined],
  ];
  for (const [what, wrong, message, errno] of refusals) {
    const error: unknown = await startMount({ ...good, ...wrong }).catch((reason: unknown) => reason);
    t.type(error, StartupError, what);
    t.match(error, { message, hint: /./ }, what);
    if (errno !== undefined) t.match((error as StartupError).cause, { errno }, what);
  }
  t.same(await sessionsOf(lab), []);
});
