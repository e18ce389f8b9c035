import { chmod, mkdir, readdir, rename, rm, rmdir, stat, writeFile as write } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { askForParts, fetchStatus } from "../../daemon/cli/admin/ask.js";
import { SCHEMAS } from "../../daemon/cli/schemas.js";
import type { ClusterAddress } from "../../daemon/cli/shared-options.js";
import { openBackup } from "../../daemon/meta/backup/dump.js";
import { parseName } from "../../daemon/meta/backup/names.js";
import type { StoredRow } from "../../daemon/meta/metastore.js";
import { openSqlite } from "../../daemon/meta/sqlite/sqlite-store.js";
import { bigfsd } from "../helpers/cluster.js";
import { KEY, Lab, WHO, name, readFile, writeFile } from "../integration/client/lab.js";

const FAST = { shipMs: 30, backupMs: 600_000 };

async function turn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

const folderOf = (lab: Lab, store: number) => join(lab.dir, `store${store}`, "backup");

/** The last commit that each store has. */
async function shippedTo(lab: Lab): Promise<number[]> {
  const last = async (store: number) => {
    const names = await readdir(folderOf(lab, store)).catch(() => []);
    return Math.max(0, ...names.map((file) => parseName(file)?.last ?? 0));
  };
  return Promise.all([0, 1, 2].map(last));
}

/** The last commit that is on the daemon's disk. */
async function commitNow(address: ClusterAddress): Promise<number> {
  async function* dump(): AsyncGenerator<Buffer> {
    for await (const part of askForParts(address, { $case: "dump", value: {} })) {
      if (part.$case === "dump") yield part.value.data;
    }
  }
  return (await openBackup(dump())).header.seq;
}

/** Waits until `look` is true of what the stores have. */
async function until(lab: Lab, look: (last: number[]) => boolean): Promise<void> {
  while (!look(await shippedTo(lab))) await turn();
}

/** Nothing can be stored in a store's folder of backups, which it may be about to do. */
async function broken(lab: Lab, store: number): Promise<() => Promise<void>> {
  const folder = folderOf(lab, store);
  const aside = `${folder}.aside`;
  await mkdir(aside);
  for (let isFile = false; !isFile;) {
    for (const file of await readdir(folder).catch((): string[] => []))
      await rename(join(folder, file), join(aside, file));
    await rmdir(folder).catch(() => {});
    isFile = await write(folder, "this is no folder", { flag: "wx" }).then(
      () => true,
      () => false,
    );
  }
  return async () => {
    await rm(folder);
    await rename(aside, folder);
  };
}

async function rowsIn(file: string): Promise<StoredRow[]> {
  const store = await openSqlite(file);
  try {
    return await store.scan({ from: "", to: "\xff", limit: 1e6 });
  } finally {
    await store.close();
  }
}

async function restore(lab: Lab, into: string, stores = lab.stores.map(({ listen }) => listen)) {
  const key = join(lab.dir, "key");
  await write(key, `${KEY.toString("hex")}\n`);
  await chmod(key, 0o600);
  return bigfsd(["meta", "restore", "--json", "--from", stores.join(","), "--data", join(lab.dir, into), "--key", key]);
}

test("D29: what storage nodes do not take is sent again, to others, and the copy is the source", async (t) => {
  const lab = await Lab.start(t, { backupKeep: 2, deadlines: FAST });
  const address = { meta: lab.meta.listen, key: KEY };
  const client = await lab.client();
  let files = 0;
  const more = async (count = 20) => {
    for (let n = 0; n < count; n++) await writeFile(client, `file${files++}`, Buffer.alloc(2000, files));
  };
  await more();
  while ((await fetchStatus(address)).backup?.copies !== 2) await turn();
  const healFirst = await broken(lab, 0);
  const healSecond = await broken(lab, 1);
  await more();
  while ((await fetchStatus(address)).backup?.problem === "") await more(1);
  const before = await shippedTo(lab);
  await more();
  t.equal((await fetchStatus(address)).backup?.copies, 2, "writers do not notice");
  await healSecond();
  await until(lab, (last) => last.filter((seq) => seq > Math.max(...before)).length >= 2);
  await healFirst();
  await more();
  await client.fs.unlink(WHO, client.fs.root, name("file3"));
  await client.stop();
  const now = await commitNow(address);
  await until(lab, (last) => last.filter((seq) => seq >= now).length >= 2);
  await lab.meta.stop();

  const source = await rowsIn(join(lab.dir, "meta", "meta.db"));
  const found = await restore(lab, "copy");
  t.equal(found.code, 0, found.stderr);
  const { commits, problems } = SCHEMAS["meta restore"].parse(JSON.parse(found.stdout));
  t.ok(commits > 0);
  t.same(problems, []);
  const copy = await rowsIn(join(lab.dir, "copy", "meta.db"));
  // The daemon itself goes on to commit what is not of files.
  const plain = (rows: StoredRow[]) =>
    rows.filter(({ key }) => "IECSX".includes(key.charAt(0))).map(({ key, value }) => [key, Buffer.from(value)]);
  t.same(plain(copy), plain(source));
});

test("a snapshot that is damaged, and a segment, are had from another node; without any other, what comes before", async (t) => {
  const lab = await Lab.start(t, { backupKeep: 2, deadlines: FAST });
  const client = await lab.client();
  await writeFile(client, "first", Buffer.alloc(2000, 1));
  while ((await fetchStatus({ meta: lab.meta.listen, key: KEY })).backup?.copies !== 2) await turn();
  for (const file of ["second", "third"]) {
    const [before = 0] = (await shippedTo(lab)).sort((a, b) => b - a);
    await writeFile(client, file, Buffer.alloc(2000, 2));
    await until(lab, (last) => last.filter((seq) => seq > before).length >= 2);
  }
  await client.stop();
  await lab.meta.stop();
  const held = await Promise.all([0, 1, 2].map((store) => readdir(folderOf(lab, store)).catch((): string[] => [])));
  const names = [...new Set(held.flat())].sort();
  const snapshot = names.findLast((file) => file.endsWith("snapshot")) ?? "";
  const segments = names.filter((file) => file.endsWith("log"));
  t.ok(segments.length >= 2);
  const segment = segments.at(-1) ?? "";
  /** A slow node is passed over: it need not be the same two that have both. */
  const holders = (file: string): number[] => [0, 1, 2].filter((store) => held[store]?.includes(file));
  t.equal(holders(snapshot).length, 2);
  t.equal(holders(segment).length, 2);
  const [one = 0, two = 0] = holders(snapshot);
  const [three = 0, four = 0] = holders(segment);
  const damage = async (store: number, file: string) => {
    const path = join(folderOf(lab, store), file);
    const { size } = await stat(path);
    await write(path, "damaged", { flag: "r+" });
    t.equal((await stat(path)).size, size);
  };
  await damage(one, snapshot);
  await damage(three, segment);
  const whole = await restore(lab, "whole");
  t.match(JSON.parse(whole.stdout), { problems: [/this is no backup/, /this is no backup/] });

  await damage(four, segment);
  const part = await restore(lab, "part");
  t.equal(part.code, 0, part.stderr);
  const [more, less] = [whole, part].map(({ stdout }) => (JSON.parse(stdout) as { commits: number }).commits);
  t.ok(Number(less) < Number(more));
  t.match(part.stderr, /no backup of BigFS metadata/);

  await damage(two, snapshot);
  const none = await restore(lab, "none");
  t.match(none, { code: 1, stderr: /have no whole snapshot(.|\n)*name further nodes/ });
  t.notOk((await readdir(lab.dir)).includes("none"), "no folder of it stays");
});

test("each start begins with a snapshot, and only as many as are wanted stay", async (t) => {
  const lab = await Lab.start(t, { backupKeep: 2, deadlines: FAST });
  const address = lab.meta.listen;
  const snapshots = async () => {
    const held = await Promise.all([0, 1, 2].map((store) => readdir(folderOf(lab, store)).catch((): string[] => [])));
    return new Set(held.flat().filter((file) => file.endsWith(".snapshot"))).size;
  };
  const client = await lab.client();
  await writeFile(client, "kept", Buffer.alloc(2000, 1));
  await client.stop();
  for (let life = 1; life <= 4; life++) {
    let copies = 0;
    while (copies < 2) copies = (await fetchStatus({ meta: address, key: KEY })).backup?.copies ?? 0;
    while ((await snapshots()) > 2) await turn();
    t.equal(await snapshots(), Math.min(life, 2), `life ${life}`);
    await lab.meta.stop();
    if (life < 4) await lab.startMeta(address);
  }
  t.equal((await restore(lab, "copy")).code, 0);
  await lab.startMeta(address, "copy");
  const again = await lab.client();
  t.same(await readFile(again, "kept"), Buffer.alloc(2000, 1));
});
