import { join } from "node:path";
import { test } from "tap";
import { DRIVERS } from "../../mount/driver.js";
import { TestCluster, bigfsd } from "../helpers/cluster.js";
import { packageRoot } from "../helpers/package-root.js";
import { must, run, sh } from "../helpers/run.js";

const ADDON = join(packageRoot, "mount/kernel/addon/build/Release/fuse.node");
const BIN = join(packageRoot, "dist/daemon/cli/bin.js");

test("fuse-native: with --allow-other, what others make belongs to who has mounted, without set-id bits", async (t) => {
  const cluster = await TestCluster.start(t, ["--driver", "fuse-native", "--allow-other"]);
  await must("chmod", ["711", cluster.dir]);
  await must("chmod", ["777", cluster.mnt]);
  const script = `
import os,sys
os.setgid(65534); os.setuid(65534); os.chdir(sys.argv[1])
os.close(os.open("theirs", os.O_CREAT|os.O_WRONLY, 0o6755)); s=os.stat("theirs"); print(s.st_uid, oct(s.st_mode))
try: open("theirs", "w")
except PermissionError: print("not theirs")`;
  t.equal(await must("python3", ["-c", script, cluster.mnt]), "0 0o100755\nnot theirs\n");
});

for (const driver of DRIVERS) {
  test(`a folder on which something else is mounted can be mounted on (${driver})`, async (t) => {
    const cluster = await TestCluster.start(t, ["--storage", "2"]);
    const other = join(cluster.dir, "other");
    await must("mkdir", [other]);
    const lines = `mount -t tmpfs none ${other}; bigfsd() { node ${BIN} "$@"; }
      bigfsd mount ${other} --data ${cluster.data} --log ${cluster.dir}/log --driver ${driver}
      echo works > ${other}/file; bigfsd umount ${other}; stat -f -c %T ${other}; ls ${other}`;
    t.match(await run("unshare", ["-m", "bash", "-euc", lines]), { code: 0, stdout: "tmpfs\n" });
    t.equal(await sh(`cat ${cluster.mnt}/file`), "works\n");
  });
}

test("where the own binding cannot be loaded, fuse-native mounts with a warning; not when the own is asked for", async (t) => {
  const cluster = await TestCluster.start(t, ["--storage", "2"]);
  const other = join(cluster.dir, "other");
  await must("mkdir", [other]);
  // A namespace of its own, in which the binding is an empty file, and so is fusermount3, which root does not need.
  const empty = `for file in ${ADDON} $(readlink -f $(command -v fusermount3)); do mount --bind /dev/null $file; done`;
  const without = (lines: string) =>
    run("unshare", ["-m", "bash", "-euc", `${empty}; bigfsd() { node ${BIN} "$@"; }\n${lines}`]);
  const mount = `bigfsd mount ${other} --data ${cluster.data} --log ${cluster.dir}/log`;
  const outcome = await without(
    `${mount}; echo works > ${other}/file; cat ${other}/file; stat -f -c %T ${other}; bigfsd umount ${other}; ls ${other}`,
  );
  t.match(outcome, { code: 0, stdout: /^works\nfuse/ });
  t.match(
    outcome.stderr,
    /bigfsd: the kernel binding .* cannot be loaded: mounting with fuse-native, .*scripts\/build/,
  );
  t.match(await sh(`cat ${cluster.dir}/log`), /"level":40.*"driver":"fuse-native".*cannot be loaded/);
  t.equal(await sh(`cat ${cluster.mnt}/file`), "works\n");
  const refused = await without(`${mount} --driver own`);
  t.match(refused, { code: 1, stderr: /cannot be loaded/ });
  t.equal((await bigfsd(["mount", other, "--data", cluster.data, "--driver", "other"])).code, 2);
});
