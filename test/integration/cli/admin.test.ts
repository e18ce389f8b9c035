import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "tap";
import { explainFile, fetchStatus } from "../../../daemon/cli/admin/ask.js";
import { SCHEMAS } from "../../../daemon/cli/schemas.js";
import { ReplicaState } from "../../../proto/gen/bigfs/v1/rows.js";
import { bigfsd } from "../../helpers/cluster.js";
import { packageRoot } from "../../helpers/package-root.js";
import { sh } from "../../helpers/run.js";
import { until } from "../../helpers/until.js";
import { KEY, Lab, readFile as readBytes, writeFile as writeBytes } from "../client/lab.js";

test("watching goes on while the cluster is away", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "bigfs-admin-"));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  const key = join(dir, "cluster.key");
  await writeFile(key, `${KEY.toString("hex")}\n`, { mode: 0o600 });
  const bin = join(packageRoot, "dist/daemon/cli/bin.js");
  const args = [bin, "status", "--watch", "--meta", "127.0.0.1:1", "--key", key];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"] });
  t.teardown(() => child.kill("SIGKILL"));
  const ended = once(child, "exit").then(() => "ended");
  let told = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (told += text));
  const tries = () => told.split("cannot be reached").length;
  let last: unknown;
  while (last !== "ended" && tries() < 3) last = await Promise.race([ended, once(child.stderr, "data")]);
  t.not(last, "ended");
  child.kill("SIGKILL");
});

test("an administrator sees nodes, sessions and settings, and changes what may change", async (t) => {
  const lab = await Lab.start(t);
  const client = await lab.client();
  const ino = await writeBytes(client, "f", Buffer.alloc(600_000, 1));
  const dir = await mkdtemp(join(tmpdir(), "bigfs-admin-"));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  const key = join(dir, "cluster.key");
  await writeFile(key, `${KEY.toString("hex")}\n`, { mode: 0o600 });
  const run = (...command: string[]) => bigfsd([...command, "--meta", lab.meta.listen, "--key", key]);

  const nodes = JSON.parse((await run("node", "ls", "--json")).stdout) as { id: number; name: string }[];
  t.ok(nodes.length >= 2);
  const [first, second] = nodes.map(({ id }) => `${id}`);
  t.equal(first, "1", "that of the first store");
  t.match((await run("node", "rename", first ?? "", "alpha")).stdout, /^name +alpha$/m);
  t.match(await run("node", "rename", second ?? "", "alpha"), { code: 1, stderr: /has the name alpha \(EEXIST\)/ });
  t.match(JSON.parse((await run("node", "set", "alpha", "--zone", "rack9", "--json")).stdout), { zone: "rack9" });
  t.match((await run("node", "show", "alpha")).stdout, /^zone +rack9$/m);
  t.match(await run("node", "show", "beta"), { code: 1, stderr: /there is no node 'beta'; there are: \d+ \(alpha\)/ });
  t.match(await run("node", "set", "alpha"), { code: 2, stderr: /give --zone ZONE/ });
  t.match(await run("node", "rename", "alpha", "2"), { code: 1, stderr: /'2': a number is the id of a node/ });
  t.match(await run("node", "set", "alpha", "--zone", "a\x1bb"), {
    code: 1,
    stderr: /^bigfsd: 'a\\x1bb': give 1 to 255/,
  });

  const ids = async () =>
    (JSON.parse((await run("session", "ls", "--json")).stdout) as { id: number }[]).map(({ id }) => id);
  const [ended = 0] = await ids();
  t.match((await run("session", "ls")).stdout, /^\d+ +lab +127\.0\.0\.1:\d+ +connected /m);
  t.equal((await run("session", "end", "lab")).code, 0);
  t.notOk((await ids()).includes(ended), "its client may begin another");
  t.match(await run("session", "end", "none"), { code: 1, stderr: /there is no session 'none'/ });
  await client.stop();

  const copies = async () => {
    const { chunks } = await explainFile({ meta: lab.meta.listen, key: KEY }, ino);
    return chunks.map(({ replicas }) => replicas.filter(({ state }) => state === ReplicaState.AVAILABLE).length);
  };
  t.same(await copies(), [2, 2, 2]);
  t.equal((await run("config", "set", "replicas", "3")).code, 0);
  // Repair makes the missing ones.
  await until(async () => (await copies()).every((count) => count === 3));
  t.equal((await run("config", "get", "replicas")).stdout, "3\n");
  t.match(JSON.parse((await run("config", "get", "--json")).stdout), { replicas: 3, "min-replicas": 2 });
  t.match(await run("config", "set", "min-replicas", "4"), { code: 1, stderr: /cannot wait for 4 of 3 copies/ });
  for (const value of ["many", "0", "17", "-1", "1.5"])
    t.match(await run("config", "set", "replicas", value), { code: 2, stderr: /give a whole number from 1 to 16/ });
  t.match(await run("config", "set", "replicas", "4"), {
    code: 0,
    stderr: /^bigfsd: warning: 3 of 3 .* too few for 4 copies\n {2}bigfsd store .*\n.*warning: 4 copies, but 3 zones/,
  });
  t.match(await run("config", "set", "min-replicas", "4"), { code: 0, stderr: /warning: .*writes need 4: they wait/ });
  await run("config", "set", "min-replicas", "2");
  t.match(JSON.parse((await run("config", "set", "rebalance", "off", "--json")).stdout), { rebalance: "off" });
  t.equal((await run("config", "get", "rebalance")).stdout, "off\n");
  t.match(await run("config", "set", "rebalance", "maybe"), { code: 2, stderr: /rebalance maybe: give on or off/ });
  t.equal((await run("config", "get", "min-replicas")).stdout, "2\n", "the others are as they were");
  t.match(await run("config", "set", "replicas", "3"), { code: 0, stderr: "" });
  // What was chosen stays, what was not is as the node says.
  await lab.stores[0]?.stop();
  await lab.startStore(0, "127.0.0.1:0");
  t.match(JSON.parse((await run("node", "show", "alpha", "--json")).stdout), { state: "UP", zone: "rack9" });
  t.match((await run("status")).stdout, /^replicas +3 \(at least 2 .*\n(.*\n)+nodes +\d up of \d$/m);
});

test("a node is drained and removed, and its data folder is refused from then on", async (t) => {
  const lab = await Lab.start(t);
  const client = await lab.client();
  const data = Buffer.alloc(2_000_000, "drained");
  await writeBytes(client, "f", data);
  const dir = await mkdtemp(join(tmpdir(), "bigfs-admin-"));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  const key = join(dir, "cluster.key");
  await writeFile(key, `${KEY.toString("hex")}\n`, { mode: 0o600 });
  const run = (...command: string[]) => bigfsd([...command, "--meta", lab.meta.listen, "--key", key]);
  t.match(await run("node", "drain", "none"), { code: 1, stderr: /there is no node 'none'; there are: / });
  t.match(await run("node", "rm", "1"), { code: 1, stderr: /empty it first, with 'bigfsd node drain .*' \(EBUSY\)/ });
  t.match(await run("node", "rm", "1", "--lost"), { code: 1, stderr: /is not lost but UP: drain it/ });
  t.match(await run("node", "rm", "1", "--force"), { code: 2, stderr: /--force goes with --lost/ });
  const begun = SCHEMAS["node drain"].parse(JSON.parse((await run("node", "drain", "1", "--json")).stdout));
  t.match(begun, { id: 1, state: "DRAINING" });
  t.match(await run("node", "drain", "2"), { code: 1, stderr: /1 node would be left for 2 copies: .* \(EBUSY\)/ });
  t.match((await run("node", "ls")).stdout, /^1 .* DRAINING, \d+ copies left /m);
  await until(async () => {
    const { nodes } = await fetchStatus({ meta: lab.meta.listen, key: KEY });
    return nodes.some(({ id, copies }) => id === 1 && copies === 0);
  });
  t.match((await run("status")).stdout, /^draining +.* is empty: 'bigfsd node rm .*'$/m);
  const removed = SCHEMAS["node rm"].parse(JSON.parse((await run("node", "rm", "1", "--json")).stdout));
  t.match(removed, { node: { id: 1, state: "RETIRED" }, lostChunks: 0 });
  t.match(await lab.stores[0]?.ended, { message: /refuses this node: node 1 \(.*\) was removed from the volume/ });
  await lab.stores[0]?.stop();
  await t.rejects(lab.startStore(0, "127.0.0.1:0"), { message: /was removed from the volume, and this is its data/ });
  t.match(await run("node", "drain", "1"), { code: 1, stderr: /was removed; it cannot be changed any more/ });
  t.match(await run("node", "drain", "2"), { code: 1, stderr: /EBUSY/ });
  t.ok((await readBytes(await client.again(), "f")).equals(data));
  await lab.stores[1]?.stop();
  t.match(await run("node", "rm", "2", "--lost"), { code: 0, stdout: /is removed$/m });
  t.match((await run("status")).stdout, /^nodes +1 up of 1$/m);
  t.ok((await readBytes(await client.again(), "f")).equals(data));
  t.match(await run("node", "rm", "3", "--lost"), { code: 1, stderr: /is not lost/ });
  await lab.stores[2]?.stop();
  t.match(await run("node", "rm", "3", "--lost"), {
    code: 1,
    stderr: /8 chunks have their only copy on .*; with --force/,
  });
});

test("what is printed as JSON has the shape that is published", async (t) => {
  const lab = await Lab.start(t);
  await lab.client();
  const dir = await mkdtemp(join(tmpdir(), "bigfs-admin-"));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  const key = join(dir, "cluster.key");
  await writeFile(key, `${KEY.toString("hex")}\n`, { mode: 0o600 });
  await mkdir(join(dir, "tree"));
  await writeFile(join(dir, "tree", "large"), Buffer.alloc(600_000, 1));
  await writeFile(join(dir, "tree", "small"), "text");
  const cluster = ["--meta", lab.meta.listen, "--key", key];
  const check = (name: keyof typeof SCHEMAS, text: string): void => {
    const { error } = SCHEMAS[name].safeParse(JSON.parse(text));
    t.equal(error, undefined, `${name}: ${error?.message ?? "as published"}`);
  };
  // At a prompt, for a process costs more; after each command it says where it stands.
  const files: [keyof typeof SCHEMAS, string][] = [
    ["put", `-r ${join(dir, "tree")} /`],
    ["get", `/tree/small ${join(dir, "back")}`],
    ["ls", "/"],
    ["tree", "/"],
    ["stat", "/tree"],
    ["info", "/tree/large /tree/small /tree"],
    ["du", "/"],
    ["mkdir", "/new"],
    ["mv", "/tree/small /new"],
    ["rm", "-r /new /tree"],
  ];
  const typed = files.map(([name, args]) => `${name} --json ${args}\npwd\n`).join("");
  await writeFile(join(dir, "typed"), typed);
  const bin = join(packageRoot, "dist/daemon/cli/bin.js");
  const prompt = await sh(`${process.execPath} ${bin} shell ${cluster.join(" ")} < ${join(dir, "typed")}`);
  const printed = prompt.split(/^\/\n/m);
  for (const [i, [name]] of files.entries()) {
    for (const line of (printed[i] ?? "").trim().split("\n")) check(name, line);
  }
  const others: [keyof typeof SCHEMAS, ...string[]][] = [
    ["status"],
    ["node ls"],
    ["node show", "1"],
    ["node set", "1", "--zone", "z"],
    ["node rename", "1", "one"],
    ["session ls"],
    ["config get"],
    ["fsck"],
    ["gc", "--dry-run"],
    ["meta dump", join(dir, "dump")],
    ["config set", "replicas", "3"],
    ["session end", "lab"],
  ];
  for (const [name, ...args] of others) {
    const { code, stdout } = await bigfsd([...name.split(" "), ...args, "--json", ...cluster]);
    t.equal(code, 0, name);
    check(name, stdout);
  }
  const published = JSON.parse((await bigfsd(["schema", "status"])).stdout) as { properties: object };
  t.match(published, { type: "object", additionalProperties: false, properties: { nodes: { type: "array" } } });
  const made = await bigfsd(["key", "--json", join(dir, "new.key")]);
  check("key", made.stdout);
  t.match(await bigfsd(["schema", "cat"]), { code: 2, stderr: /'cat' prints no JSON/ });
});

test("keys and volumes are made where there are none", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "bigfs-admin-"));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  const key = join(dir, "cluster.key");
  t.equal((await bigfsd(["key", key])).code, 0);
  t.equal((await stat(key)).mode & 0o777, 0o600);
  const made = await readFile(key, "utf8");
  t.match(made, /^[0-9a-f]{64}\n$/);
  t.match(await bigfsd(["key", key]), { code: 1, stderr: /exists already\n {2}name a new file/ });
  t.equal(await readFile(key, "utf8"), made);
  const data = join(dir, "meta");
  const create = ["volume", "create", "--data", data];
  t.match(await bigfsd([...create, "--replicas", "2", "--min-replicas", "3"]), { code: 2 });
  const shape = await bigfsd([...create, "--replicas", "3", "--min-replicas", "1", "--json"]);
  t.match(JSON.parse(shape.stdout), { volume: /^[0-9a-f-]{36}$/, replicas: 3, minReplicas: 1, chunkSize: 2 ** 20 });
  t.match(await bigfsd(create), { code: 1, stderr: /has a volume already/ });
  t.match((await bigfsd(["completion"])).stdout, /bigfsd/);
});
