import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { test } from "tap";
import { takeOff } from "../../../daemon/cli/commands/down.js";
import { findMount } from "../../../mount/kernel/mountinfo.js";
import { isMounted, unmountPath } from "../../../mount/kernel/unmount.js";
import { MountProcess, ownFolder, ownMount } from "../../helpers/mount-process.js";

const run = promisify(execFile);
const root = process.getuid?.() === 0 ? {} : { skip: "only root mounts without fusermount3" };

for (const privileged of [true, false]) {
  const way = privileged ? "by itself" : "through fusermount3";

  test(`mounts ${way}, is known in /proc/mounts, and unmounts in order`, privileged ? root : {}, async (t) => {
    const folder = join(await ownFolder(t), "with space and ümlaut");
    await fs.mkdir(folder);
    const [, server] = await ownMount(t, { mountpoint: folder, privileged });
    t.equal((await findMount(folder))?.type, "fuse.bigfs");
    t.equal(await isMounted(folder), true);
    await fs.writeFile(join(folder, "file"), "x");
    await server.ask("unmount", {});
    t.equal(await server.exited(), 0);
    t.equal(await isMounted(folder), false);
    t.same(await fs.readdir(folder), []);
  });

  test(`a mount ${way} ends in order when it is unmounted from outside`, privileged ? root : {}, async (t) => {
    const [mnt, server] = await ownMount(t, { privileged });
    await fs.writeFile(join(mnt, "file"), "x");
    await unmountPath(mnt, { privileged });
    t.equal(await server.exited(), 0, "drained, and ended without an error");
    t.equal(await isMounted(mnt), false);
  });
}

test("a mount in use is EBUSY for unmountPath, and goes lazily", async (t) => {
  const [mnt, server] = await ownMount(t);
  const file = await fs.open(join(mnt, "file"), "w+");
  await t.rejects(unmountPath(mnt), { message: /^EBUSY: / });
  t.equal(await isMounted(mnt), true);
  await unmountPath(mnt, { lazy: true });
  t.equal(await isMounted(mnt), false);
  await file.write("still served");
  await file.close();
  t.equal(await server.exited(), 0);
});

test("a cluster whose mount has died leaves alone what another one mounted at the same place", async (t) => {
  const [mnt, server] = await ownMount(t);
  const member = { role: "mount" as const, name: "mount", pid: 2 ** 30, started: "1@then", listen: mnt, data: mnt };
  const file = await fs.open(join(mnt, "file"), "w");
  await takeOff(member, true);
  await file.write("still served");
  await file.close();
  t.equal(await fs.readFile(join(mnt, "file"), "latin1"), "still served");
  await server.kill();
  await takeOff(member, true);
  t.equal(await isMounted(mnt), false, "what is dead is freed");
});

test("stopping a mount that is in use does not wait for ever", async (t) => {
  const [mnt, server] = await ownMount(t);
  const file = await fs.open(join(mnt, "file"), "w+");
  await server.ask("unmount", {});
  t.equal(await server.exited(), 0);
  await t.rejects(file.stat(), { code: "ENOTCONN" });
  await file.close().catch(() => undefined);
});

for (const privileged of [true, false]) {
  const way = privileged ? "directly" : "through fusermount3";
  test(`what a killed mount left is known, and unmountPath frees it ${way}`, privileged ? root : {}, async (t) => {
    const [mnt, server] = await ownMount(t, { privileged });
    await fs.writeFile(join(mnt, "file"), "x");
    const standing = spawn("sleep", ["600"], { cwd: mnt });
    t.teardown(() => standing.kill());
    await once(standing, "spawn");
    await server.kill();
    await t.rejects(fs.stat(mnt), { code: "ENOTCONN" });
    t.equal(await isMounted(mnt), true);
    await unmountPath(mnt, { privileged });
    t.equal(await isMounted(mnt), false);
  });
}

test("a new mount takes the place of one that was killed", async (t) => {
  const [mnt, server] = await ownMount(t);
  await server.kill();
  await t.rejects(fs.stat(mnt), { code: "ENOTCONN" });
  await ownMount(t, { mountpoint: mnt });
  await fs.writeFile(join(mnt, "file"), "x");
  t.equal((await fs.stat(join(mnt, "file"))).size, 1);
});

test("a connection that is aborted ends the mount with an error and leaves the folder free", root, async (t) => {
  const [mnt, server] = await ownMount(t);
  await run("umount", ["-f", mnt]).catch(() => undefined);
  await server.exited();
  t.equal(await isMounted(mnt), false);
});

test("every bad mount point is told with the way out, and nothing is left mounted", async (t) => {
  const folder = await ownFolder(t);
  await fs.writeFile(join(folder, "file"), "");
  await fs.mkdir(join(folder, "full"));
  await fs.writeFile(join(folder, "full/file"), "");
  const [busy] = await ownMount(t);
  const refused = async (mountpoint: string) =>
    MountProcess.start({ mountpoint }).then(
      async (server) => server.stop().then(() => "mounted"),
      (error: unknown) => String(error),
    );
  t.match(await refused(join(folder, "missing")), /does not exist \| create it: mkdir -p/);
  t.match(await refused(join(folder, "file")), /is not a folder \|/);
  t.match(await refused(join(folder, "full")), /is not empty \| choose an empty folder/);
  t.match(await refused(busy), /is busy: fuse.bigfs is mounted there already \| unmount it first \(bigfsd umount/);
  for (const name of ["file", "full"]) t.equal(await isMounted(join(folder, name)), false);
});

test("unmountPath refuses what is not a BigFS mount", async (t) => {
  const folder = await ownFolder(t);
  await t.rejects(unmountPath(folder), { message: /^EINVAL: / });
  await t.rejects(unmountPath("/proc"), { message: /^EINVAL: / });
  await t.rejects(unmountPath(join(folder, "missing")), { message: /^EINVAL: / });
  t.equal(await isMounted(join(folder, "missing/deeper")), false);
});
