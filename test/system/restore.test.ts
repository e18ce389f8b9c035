import { createReadStream } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { openBackup } from "../../daemon/meta/backup/dump.js";
import { parseName } from "../../daemon/meta/backup/names.js";
import { bigfsd, TestCluster } from "../helpers/cluster.js";
import { packageRoot } from "../helpers/package-root.js";
import { must, run, sh } from "../helpers/run.js";

const FSYNC_ALL = `
import os, sys
for folder, _, files in os.walk(sys.argv[1]):
    for path in [folder] + [os.path.join(folder, file) for file in files]:
        if not os.path.islink(path):
            os.fsync(os.open(path, os.O_RDONLY))
`;

/** The last commit that each store has. */
async function shipped(cluster: TestCluster): Promise<number[]> {
  const stores = (await cluster.file()).processes.filter(({ role }) => role === "store");
  const last = async (name: string) => {
    const names = await readdir(join(cluster.data, name, "backup")).catch(() => []);
    return Math.max(0, ...names.map((file) => parseName(file)?.last ?? 0));
  };
  return Promise.all(stores.map(({ name }) => last(name)));
}

test("a volume whose metadata disk is gone comes back from its storage nodes, with everything that had reached them", async (t) => {
  const cluster = await TestCluster.start(t, ["--deadline", "shipMs=200"]);
  const { mnt, data } = cluster;
  await must("cp", ["-a", join(packageRoot, "proto"), join(mnt, "tree")]);
  await must("dd", ["if=/dev/urandom", `of=${mnt}/large`, "bs=1M", "count=8", "conv=fsync"]);
  await sh(`cd ${mnt} && ln large second && ln -s large link && mkdir -m 700 secret && echo text > secret/file`);
  await must("python3", ["-c", FSYNC_ALL, mnt]);
  const sums = () =>
    sh(`cd ${mnt} && find . -type f -print0 | sort -z | xargs -0 sha256sum; find . -printf '%p %m %n %l\\n' | sort`);
  const before = await sums();

  const dump = join(cluster.dir, "now");
  t.match(await bigfsd(["meta", "dump", dump, "--data", data]), { code: 0 });
  const { seq } = (await openBackup(createReadStream(dump))).header;
  while ((await shipped(cluster)).filter((last) => last >= seq).length < 2) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  const stores = (await cluster.file()).processes.filter(({ role }) => role === "store");
  const mount = (await cluster.file()).processes.find(({ role }) => role === "mount");
  await cluster.kill("meta");
  await cluster.kill(mount?.name ?? "");
  await run("fusermount3", ["-uz", mnt]);
  const folder = join(data, "meta");
  await rm(folder, { recursive: true });

  const from = stores.map(({ listen }) => listen).join(",");
  const restore = ["meta", "restore", "--from", from, "--data", folder, "--key", cluster.keyFile];
  const restored = await bigfsd(restore);
  t.match(restored, { code: 0, stdout: /^as of 20.*: a snapshot and \d+ commits after it; cleaning is off/ });
  t.match(await bigfsd(restore), { code: 1, stderr: /has metadata already/ });
  await cluster.up();
  t.equal(await sums(), before);
  await sh(`cd ${mnt} && rm -r tree && cp large third && cmp large third`);
  t.match((await bigfsd(["status", "--data", data, "--json"])).stdout, /"incarnation": 2(.|\n)*"cleaning": false/);
});
