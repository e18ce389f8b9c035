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

/** ps(1) and mount(8) as they are on macOS, for a namespace whose /proc is hidden (and seen at $PROC). */
const PS = `#!/bin/sh
for pid; do :; done
read -r line < $PROC/$pid/stat 2>/dev/null || exit 1
set -- \${line##*) }
echo "$1    Sun Nov 22 20:07:\${20} 2026"
`;
const MOUNT = `#!/bin/sh
while read -r source path type options rest; do echo "$source on $path (fusefs, $options)"; done < $PROC/self/mounts
`;

test("on a system without /proc a cluster starts, is mounted by fuse-native, and guards its folders", async (t) => {
  const folder = t.testdir({ bin: { ps: PS, mount: MOUNT }, proc: {}, mnt: {}, data: {} });
  await sh(`chmod +x ${folder}/bin/*`);
  const lines = `export PROC=${folder}/proc; mount --bind /proc $PROC; mount --bind /dev/null ${ADDON}
    mount -t tmpfs none /proc; PATH=${folder}/bin:$PATH; cd ${folder}; bigfsd() { node ${BIN} "$@"; }
    trap 'bigfsd down --data data >/dev/null' EXIT
    bigfsd up --data data --mount mnt --storage 2; ls /proc; echo works > mnt/file; bigfsd cat file --data data
    bigfsd up --data data --mount mnt --storage 2
    ! bigfsd store --data data/store1 --meta 127.0.0.1:1 --key data/cluster.key >log 2>&1; grep -q 'is in use by process' log
    ! bigfsd mount mnt --data data 2>log; grep -q 'is mounted there already' log
    pid=$(node -p 'JSON.parse(fs.readFileSync("data/cluster.json")).processes.find(({ listen }) => listen.endsWith("mnt")).pid'); umount ${folder}/mnt
    while ps -p $pid >/dev/null; do :; done; bigfsd status --data data | grep ^nodes; ls mnt`;
  const outcome = await run("unshare", ["-m", "bash", "-euc", lines]);
  t.match(outcome, { code: 0, stdout: /^mounted on .*\nworks\n.*\nnodes +2 up of 2\n$/ });
});
