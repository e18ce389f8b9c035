import { spawn } from "node:child_process";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { SCHEMAS } from "../../daemon/cli/schemas.js";
import { type Key, type RowKind, type Rows, idIn } from "../../daemon/meta/keys.js";
import { decodeRow, encodeRow } from "../../daemon/meta/row-codec.js";
import { openMetadata } from "../../daemon/meta/volume-folder.js";
import { S_IFMT } from "../../daemon/meta/rules/modes.js";
import { TestCluster, bigfsd } from "../helpers/cluster.js";
import { packageRoot } from "../helpers/package-root.js";
import { sh } from "../helpers/run.js";

const FILES = 80;

/** Rows of a stopped daemon, changed as no operation would. Returns how many are wrong now. */
async function tamper(cluster: TestCluster): Promise<number> {
  const store = await openMetadata((await cluster.member("meta")).data);
  const puts = new Map<string, Uint8Array>();
  const dels = new Set<string>();
  const each = async <K extends RowKind>(kind: K, damage: (at: Key<K>, row: Rows[K]) => Rows[K] | undefined) => {
    const to = String.fromCharCode(kind.charCodeAt(0) + 1);
    for (const { key: at, value } of await store.scan({ from: kind, to, limit: 10_000 })) {
      const row = damage(at as Key<K>, decodeRow(at as Key<K>, value));
      if (row !== undefined) puts.set(at, encodeRow(at as Key<K>, row));
    }
  };
  await each("I", (_, row) => {
    if ((row.mode & S_IFMT) === 0o100000) return { ...row, nlink: row.nlink + 1 };
    return row.ino === 1 ? { ...row, children: row.children + 7 } : undefined;
  });
  await each("K", (_, row) => (row.garbage ? undefined : { ...row, refs: row.refs + 2 }));
  const wrong = puts.size;
  await each("C", (at) => {
    if (idIn(at) === 1 && dels.size === 0) dels.add(at);
    return undefined;
  });
  await store.commit({ puts, dels });
  await store.close();
  return wrong + dels.size;
}

async function fsck(cluster: TestCluster, ...args: string[]) {
  const { code, stdout } = await bigfsd(["fsck", "--json", "--data", cluster.data, ...args]);
  return { code, ...SCHEMAS.fsck.parse(JSON.parse(stdout)) };
}

/** Starts a repair; resolves when it has told what came of its first act. */
async function repairBegun(cluster: TestCluster): Promise<void> {
  const bin = join(packageRoot, "dist/daemon/cli/bin.js");
  const child = spawn(process.execPath, [bin, "fsck", "--repair", "--data", cluster.data], { stdio: "pipe" });
  for await (const text of child.stdout) if (/: done$/m.test(String(text))) break;
  child.kill("SIGKILL");
}

async function chunkFiles(data: string): Promise<string[]> {
  const found = await readdir(join(data, "chunks"), { recursive: true });
  return found.filter((name) => name.endsWith(".chunk")).map((name) => join(data, "chunks", name));
}

test("rows that were tampered with and a chunk file that is gone are found, and mended over a kill in between", async (t) => {
  const cluster = await TestCluster.start(t);
  const make = `mkdir d; for i in $(seq ${FILES}); do head -c 6000 /dev/urandom > d/$i; done; head -c 3M /dev/urandom > f`;
  await sh(`${make}; sha256sum f d/* > sum; sync f; sync -f .`, { cwd: cluster.mnt });
  await cluster.down();
  const wrong = await tamper(cluster);
  await cluster.up();
  const [gone = ""] = await chunkFiles((await cluster.member("store1")).data);
  await rm(gone);
  const found = await fsck(cluster);
  t.equal(found.code, 1);
  t.same(found.unchecked, []);
  const checks = new Map<string, number>();
  for (const { check } of found.findings) checks.set(check, (checks.get(check) ?? 0) + 1);
  t.match(Object.fromEntries(checks), { names: FILES + 2, children: 1, listing: 1, absent: 1 });
  t.equal(found.findings.length, wrong + 1, JSON.stringify([...checks]));
  t.match(found.findings.find(({ check }) => check === "absent")?.what, /\(store1\)/);

  await repairBegun(cluster);
  await cluster.kill("meta");
  await cluster.up();
  const between = await fsck(cluster);
  t.ok(between.findings.length < wrong + 1, "each act is on disk when it is told");
  const repaired = await fsck(cluster, "--repair");
  t.same([repaired.code, repaired.findings], [0, []]);
  t.ok(repaired.acts?.every(({ mended }) => mended));
  t.equal((await fsck(cluster)).code, 0);
  const second = await cluster.mountAgain("second");
  await sh("sha256sum -c --quiet sum", { cwd: second });
  t.equal((await sh("ls | wc -l", { cwd: second })).trim(), "3", "also what was missing in the listing");
  t.equal((await sh("stat -c %h d/1", { cwd: second })).trim(), "1");
});
