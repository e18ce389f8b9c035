import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type Test } from "tap";
import { stopProcess } from "../../../daemon/cli/local-cluster.js";
import { spawnDaemon } from "../../../daemon/cli/spawn.js";
import { bigfsd } from "../../helpers/cluster.js";

const KEY = Buffer.alloc(32, 7).toString("hex");

async function folder(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "bigfs-config-"));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  await writeFile(join(dir, "cluster.key"), `${KEY}\n`, { mode: 0o600 });
  return dir;
}

test("a daemon starts from a file alone, whatever the environment says of others", async (t) => {
  const dir = await folder(t);
  const config = join(dir, "meta.yaml");
  const lines = [`data: ${dir}/meta`, `key: ${dir}/cluster.key`, "listen: 127.0.0.1:0", "chunk-size: 128KiB"];
  await writeFile(config, lines.join("\n"));
  process.env["BIGFS_LISTEN"] = "nowhere";
  t.teardown(() => delete process.env["BIGFS_LISTEN"]);
  const spawned = await spawnDaemon(["meta", "--config", config], join(dir, "log"));
  t.teardown(() => stopProcess({ ...spawned, role: "meta", name: "meta", data: dir }));
  const status = await bigfsd(["status", "--json", "--meta", spawned.listen, "--key", join(dir, "cluster.key")]);
  t.match(JSON.parse(status.stdout), { chunkSize: 128 * 1024 });
  const cluster = { volume: "v", meta: spawned.listen, processes: [] };
  await writeFile(join(dir, "cluster.json"), JSON.stringify(cluster));
  const env = { BIGFS_META: "127.0.0.1:1", BIGFS_KEY: "/nowhere" };
  t.match(
    await bigfsd(["status", "--data", dir], env),
    { code: 0 },
    "a cluster that is named by its folder has its key",
  );
});

test("--print-config shows what is in effect, where it is from, and not the key", async (t) => {
  const dir = await folder(t);
  const config = join(dir, "mount.yaml");
  await writeFile(config, `mountpoint: /mnt/x\nmeta: 10.0.0.1:1\nkey: ${dir}/cluster.key\ncache: 1GiB\ndirty: 2MiB\n`);
  const env = { BIGFS_DIRTY: "3MiB", BIGFS_CACHE: "3MiB", BIGFS_CONFIG: config };
  const { code, stdout, stderr } = await bigfsd(["mount", "--print-config", "--cache=5MiB", "--no-short-circuit"], env);
  t.match({ code, stderr }, { code: 0, stderr: "" });
  for (const line of [
    `mountpoint: /mnt/x # ${config}:1`,
    "cache: 5MiB # flag",
    "dirty: 3MiB # BIGFS_DIRTY",
    "short-circuit: false # flag",
    "read-only: false # default",
    `key: ${dir}/cluster.key # ${config}:3`,
  ]) {
    t.ok(stdout.split("\n").includes(line), line);
  }
  t.notOk(stdout.includes(KEY));
  await writeFile(config, stdout);
  const again = await bigfsd(["mount", "--print-config", "--config", config]);
  t.equal(again.stdout.replace(/ # .*/g, ""), stdout.replace(/ # .*/g, ""));
});

test("what is wrong in a file, or missing, is misuse, and told with its line", async (t) => {
  const dir = await folder(t);
  const config = join(dir, "store.yaml");
  const refused = async (text: string, message: string) => {
    await writeFile(config, text);
    t.same(await bigfsd(["store", "--config", config]), { code: 2, stdout: "", stderr: `bigfsd: ${message}\n` });
  };
  await refused("data: /x\ncapacity: much\n", `${config}:2: capacity: much: give a size such as 512KiB, 64MiB or 2GiB`);
  await refused("name: a\nlisten: foo\n", `${config}:2: listen: foo: 'foo' is not an address: give HOST:PORT`);
  await refused("http: 99999\n", `${config}:1: http: 99999: '127.0.0.1:99999' is not an address: give HOST:PORT`);
  await refused("advertise: x\n", `${config}:1: advertise: x: 'x' is not an address: give HOST:PORT`);
  await refused("meta: x\n", `${config}:1: meta: x: 'x' is not an address: give HOST:PORT`);
  await refused("zone: a b\n", `${config}:1: zone: a b: give 1 to 255 characters, no blanks`);
  await refused("name: 7\n", `${config}:1: name: 7: a number is the id of a node: give a name that is none`);
  await refused("deadline: [leaseMs=5]\n", `${config}:1: deadline: leaseMs=5: renewMs must be at most half of leaseMs`);
  await refused("deadline:\n  - chunkMs=1\n  - no=1\n", `${config}:1: deadline: no=1: there is no deadline 'no'`);
  await refused("zone: [a]\n", `${config}:1: zone: give a text`);
  await refused("zone: a\n", "data is missing: give it on the command line, in the --config file or as BIGFS_DATA");
  t.match(await bigfsd(["store", "--config", join(dir, "none")]), { code: 2, stderr: /no such file.*none/ });
  t.match(await bigfsd(["store", "--print-config"], { BIGFS_RESERVE: "x" }), {
    ...{
      code: 2,
      stdout: "",
      stderr: "bigfsd: BIGFS_RESERVE: reserve: x: give a size such as 512KiB, 64MiB or 2GiB\n",
    },
  });
  t.match(await bigfsd(["meta", "--print-config", "--replicas", "99"]), { code: 2, stderr: /--replicas 99: give/ });
  t.match(await bigfsd(["meta", "--nonsense"]), { code: 2, stderr: /nonsense/ });
  t.match(await bigfsd(["mount"]), { code: 2, stderr: /mountpoint is missing/ });
  t.match(await bigfsd(["status"], { BIGFS_META: "x" }), { code: 2, stderr: /^bigfsd: BIGFS_META: 'x' is not/ });
  t.match(await bigfsd(["meta", "--config", "/dev/zero"]), { code: 2, stderr: /longer than/ });
});
