import { chmod, readdir, rm, truncate, writeFile as write } from "node:fs/promises";
import { basename, join } from "node:path";
import sqlite3 from "sqlite3";
import { test } from "tap";
import { Layout, idOfName } from "../../../daemon/common/chunks/layout.js";
import { SCHEMAS } from "../../../daemon/cli/schemas.js";
import { askForParts } from "../../../daemon/cli/admin/ask.js";
import type { FsckFinding } from "../../../proto/gen/bigfs/v1/meta.js";
import { bigfsd } from "../../helpers/cluster.js";
import { KEY, Lab, RW, WHO, name, readFile, writeFile, type Client } from "../client/lab.js";

/** All nodes must have been asked. */
async function check(lab: Lab, repair = false, areSomeAway = false): Promise<FsckFinding[]> {
  const found: FsckFinding[] = [];
  for await (const part of askForParts({ meta: lab.meta.listen, key: KEY }, { $case: "fsck", value: { repair } })) {
    if (part.$case === "fsck") found.push(...part.value.findings);
    if (part.$case !== "fsck" || !part.value.last) continue;
    if (!areSomeAway && part.value.unchecked.length > 0) throw new Error(JSON.stringify(part.value.unchecked));
    break;
  }
  return found;
}

/** Does everything that changes rows, until it is told to end. */
async function busy({ fs }: Client, prefix: string, end: AbortSignal): Promise<void> {
  for (let n = 0; !end.aborted; n++) {
    const [file, other, folder] = [name(`${prefix}${n}`), name(`${prefix}${n}-2`), name(`${prefix}d${n}`)];
    const made = await fs.create(WHO, fs.root, file, 0o644, 0, { ...RW, exclusive: true });
    await fs.write(made.handle, 0, Buffer.alloc(n % 3 === 0 ? 300_000 : 100, n));
    await fs.flush(made.handle);
    await fs.link(WHO, made.attr?.ino ?? 0, fs.root, other);
    await fs.setattr(WHO, made.attr?.ino ?? 0, { size: 50 });
    const { attr } = await fs.mkdir(WHO, fs.root, folder, 0o755, 0);
    const move = { fromDir: fs.root, fromName: other, intoDir: attr?.ino ?? 0, intoName: file };
    await fs.rename(WHO, { ...move, noReplace: false, exchange: false });
    if (n % 2 === 0) await fs.unlink(WHO, attr?.ino ?? 0, file);
    await fs.unlink(WHO, fs.root, file);
    await fs.release(made.handle);
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Paths of the chunk files of a store, sorted by name. */
async function chunkFiles(lab: Lab, n: number): Promise<string[]> {
  const { folders } = new Layout(join(lab.dir, `store${n}`));
  const all = await Promise.all(
    folders.map(async (folder) => (await readdir(folder)).map((file) => join(folder, file))),
  );
  return all.flat().sort();
}

test("a chunk file that is gone or cut is found with node and file, and made anew; the last copy stays listed", async (t) => {
  const lab = await Lab.start(t, { stores: 2, deadlines: { confirmMs: 1000 } });
  const client = await lab.client();
  const data = Buffer.alloc(600_000, "mended");
  await writeFile(client, "f", data);
  await client.stop();
  const [gone = "", cut = ""] = await chunkFiles(lab, 1);
  await rm(gone);
  await truncate(cut, 100);
  const ids = [gone, cut].map((path) => idOfName(basename(path)) ?? 0);
  const found = await check(lab);
  t.match(
    found.map(({ check: what, chunk, node, paths }) => [what, chunk, node, Buffer.from(paths[0] ?? []).toString()]),
    ids.map((id) => ["absent", id, 2, "/f"]),
  );
  t.equal(found.length, 2);
  const key = join(lab.dir, "key");
  await write(key, `${KEY.toString("hex")}\n`, { mode: 0o600 });
  const fsck = (...args: string[]) => bigfsd(["fsck", ...args, "--meta", lab.meta.listen, "--key", key]);
  t.match(await fsck("--dry-run"), { code: 2, stderr: /--dry-run goes with --repair/ });
  t.match(await fsck("--repair", "--dry-run"), {
    code: 1,
    stdout:
      /^absent: chunk \d+: node 2 .*\n {2}\/f\n {2}repair: when another copy was read whole, [^]* chunks: 2 wrong\n$/,
  });
  t.equal((await check(lab)).length, 2, "nothing was done");
  const { code, stdout } = await fsck("--repair", "--json");
  const repaired = SCHEMAS.fsck.parse(JSON.parse(stdout));
  t.same([repaired.findings, repaired.unchecked], [[], []]);
  t.match(repaired, { acts: [{ mended: true, outcome: "done" }, { mended: true }] });
  t.equal(code, 0);
  // Repair of copies goes on by itself.
  while ((await chunkFiles(lab, 1)).length < 3) await turn();
  const bytes = await readFile(await lab.client(), "f");
  t.ok(bytes.equals(data));

  await lab.stores[0]?.stop();
  const [last = ""] = await chunkFiles(lab, 1);
  await rm(last);
  const refused = await fsck("--repair");
  t.match(refused, { code: 1, stdout: /nothing was done: no other copy can be read, and the last one/ });
  t.match(refused, { stdout: / 0 repaired, 1 wrong$/m, stderr: /is not checked: it is DOWN/ });
  t.same(
    (await check(lab, false, true)).map((finding) => finding.check),
    ["absent"],
    "still listed",
  );
});

test("while clients make, move, cut and remove files, nothing is found; chunks and rows that are lost are", async (t) => {
  const lab = await Lab.start(t, { deadlines: { cleanMs: 100, leaseMs: 1000, renewMs: 200, deleteDelayMs: 2000 } });
  const [one, two] = [await lab.client(), await lab.client()];
  const end = new AbortController();
  const working = [busy(one, "a", end.signal), busy(two, "b", end.signal)];
  for (let round = 0; round < 15; round++) t.same(await check(lab, round % 3 === 0), [], `round ${round}`);
  end.abort();
  await Promise.all(working);
  await writeFile(one, "kept", Buffer.alloc(300_000, 1));
  await Promise.all([one.stop(), two.stop()]);
  await lab.meta.stop();
  await new Promise<void>((resolve, reject) => {
    const db = new sqlite3.Database(join(lab.dir, "meta", "meta.db"));
    const sql =
      "DELETE FROM kv WHERE key IN (SELECT key FROM kv WHERE substr(key,1,1)=x'4b' ORDER BY key DESC LIMIT 1)";
    db.exec(sql, (error) => db.close(() => (error === null ? resolve() : reject(error))));
  });
  await lab.startMeta("127.0.0.1:0");
  const key = join(lab.dir, "key");
  await write(key, `${KEY.toString("hex")}\n`);
  await chmod(key, 0o600);
  const outcome = await bigfsd(["fsck", "--meta", lab.meta.listen, "--key", key]);
  t.match(outcome, {
    code: 1,
    stdout: /^missing: chunk \d+: inode \d+ needs it.*\n {2}\/kept\n\d+ inodes and \d+ chunks: 1 wrong/,
  });
  const json = JSON.parse((await bigfsd(["fsck", "--json", "--meta", lab.meta.listen, "--key", key])).stdout) as object;
  t.match(json, { findings: [{ check: "missing", paths: ["/kept"] }] });
});
