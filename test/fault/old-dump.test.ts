import { spawn } from "node:child_process";
import { once } from "node:events";
import { open, readFile as read, readdir, stat, writeFile as write } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { explainFile, fetchStatus } from "../../daemon/cli/admin/ask.js";
import { SCHEMAS } from "../../daemon/cli/schemas.js";
import { idOfName } from "../../daemon/common/chunks/layout.js";
import { bigfsd } from "../helpers/cluster.js";
import { must } from "../helpers/run.js";
import { BIN } from "../integration/cli/place.js";
import { KEY, Lab, WHO, name, readFile, writeFile, type Client } from "../integration/client/lab.js";

const FAST = { leaseMs: 1000, renewMs: 200, cleanMs: 100, deleteDelayMs: 2000, orphanGraceMs: 1000 };

/** Ids of the copies that stand in these folders of the stores, each as often as it does. */
async function copiesIn(lab: Lab, ...folders: string[]): Promise<number[]> {
  const ids: number[] = [];
  for (let n = 0; n < 3; n++) {
    for (const folder of folders) {
      const names = await readdir(join(lab.dir, `store${n}`, folder), { recursive: true });
      for (const file of names) ids.push(idOfName(file.slice(-22)) ?? idOfName(file.slice(0, 22)) ?? NaN);
    }
  }
  return ids.filter((id) => !Number.isNaN(id)).sort((a, b) => a - b);
}

async function turn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

test("D34: a volume from yesterday's dump gives new ids, reads what is old, and removes nothing of today", async (t) => {
  const lab = await Lab.start(t, { deadlines: FAST });
  const address = { meta: lab.meta.listen, key: KEY };
  const key = join(lab.dir, "key");
  await write(key, `${KEY.toString("hex")}\n`, { mode: 0o600 });
  const cluster = ["--meta", address.meta, "--key", key];
  const bytes = (fill: string) => Buffer.alloc(600_000, fill);
  const chunksOf = async (ino: number) => (await explainFile(address, ino)).chunks.map(({ id }) => id);

  const before = await lab.client();
  await writeFile(before, "old", bytes("o"));
  const dump = join(lab.dir, "yesterday");
  const dumped = await bigfsd(["meta", "dump", dump, "--json", ...cluster]);
  t.match(JSON.parse(dumped.stdout), { file: dump, bytes: (await stat(dump)).size });
  t.match(await bigfsd(["meta", "dump", dump, ...cluster]), { code: 1, stderr: /exists already/ });

  const today = [await writeFile(before, "today1", bytes("1")), await writeFile(before, "today2", bytes("2"))];
  const todays = (await Promise.all(today.map(chunksOf))).flat();
  t.equal(todays.length, 6);
  await before.stop();
  await lab.meta.stop();

  const load = ["meta", "load", dump, "--data", join(lab.dir, "meta2")];
  const loaded = await bigfsd([...load, "--json"]);
  t.match(SCHEMAS["meta load"].parse(JSON.parse(loaded.stdout)), { incarnation: 2 });
  t.match(await bigfsd(load), { code: 1, stderr: /has metadata already/ });
  await lab.startMeta(address.meta, "meta2");
  t.match(await fetchStatus(address), { incarnation: 2, cleaning: false });
  t.match((await bigfsd(["status", ...cluster])).stdout, /cleaning is off: 'bigfsd config set cleaning on'/);

  const after: Client = await lab.client();
  t.same(await readFile(after, "old"), bytes("o"));
  t.match(await after.fs.lookup(WHO, after.fs.root, name("today1")), { attr: undefined });
  const ino = await writeFile(after, "new", bytes("n"));
  t.notOk(today.includes(ino));
  t.ok(ino >= 2 * 2 ** 40);
  const news = await chunksOf(ino);
  t.ok(news.every((id) => id >= 2 * 2 ** 40));
  const standing = async () => (await copiesIn(lab, "chunks", "quarantine")).filter((id) => todays.includes(id));
  const twice = todays.flatMap((id) => [id, id]).sort((a, b) => a - b);
  while ((await copiesIn(lab, "quarantine")).length === 0) await turn();
  t.same(await standing(), twice, "today's chunks are quarantined or left, every copy");

  await bigfsd(["config", "set", "cleaning", "on", ...cluster]);
  await after.fs.unlink(WHO, after.fs.root, name("new"));
  while ((await copiesIn(lab, "chunks")).some((id) => news.includes(id))) await turn();
  t.same(await standing(), twice, "cleaning has removed what was deleted, and nothing of today");
  t.same(await readFile(after, "old"), bytes("o"));
});

test("who is killed while it loads a dump leaves nothing that a daemon starts on, and can load it again", async (t) => {
  const lab = await Lab.start(t, { stores: 2 });
  const client = await lab.client();
  for (let n = 0; n < 200; n++) await writeFile(client, `file${n}`, Buffer.alloc(3000, n));
  const key = join(lab.dir, "key");
  await write(key, `${KEY.toString("hex")}\n`, { mode: 0o600 });
  const dump = join(lab.dir, "dump");
  await bigfsd(["meta", "dump", dump, "--meta", lab.meta.listen, "--key", key]);
  const whole = await read(dump);
  const folder = join(lab.dir, "meta2");
  const pipe = join(lab.dir, "pipe");
  await must("mkfifo", [pipe]);
  const loading = spawn(process.execPath, [BIN, "meta", "load", pipe, "--data", folder], { stdio: "inherit" });
  const ended = once(loading, "exit");
  const end = await open(pipe, "w");
  t.teardown(() => end.close());
  await end.write(whole, 0, whole.length - 20);
  const isBegun = () =>
    readdir(join(folder, "loading")).then(
      (names) => names.includes("meta.db-wal"),
      () => false,
    );
  while (!(await isBegun())) await turn();
  loading.kill("SIGKILL");
  await ended;
  t.notOk((await readdir(folder)).includes("meta.db"));
  const start = ["meta", "--data", folder, "--key", key, "--listen", "127.0.0.1:0"];
  t.match(await bigfsd(start), { code: 1, stderr: /has no meta\.db, but it is not empty/ });
  t.match(await bigfsd(["meta", "load", dump, "--data", folder]), { code: 0, stdout: /cleaning is off/ });
  t.same(await readdir(folder), ["meta.db"]);
});
