import { open, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { Layout } from "../../daemon/common/chunks/layout.js";
import type { StatusReply } from "../../proto/gen/bigfs/v1/meta.js";
import { ChunkCopies } from "../helpers/chunk-copies.js";
import { TestCluster, bigfsd } from "../helpers/cluster.js";
import { contentOf } from "../helpers/manifest.js";
import { sh } from "../helpers/run.js";
import { shortDeadlines } from "../helpers/short-deadlines.js";

const FAST = shortDeadlines({ heartbeatMs: 300, nodeDownMs: 1_500, confirmMs: 1_500 });
const FILES = 60;
const PIECE = 8 * 1024;
/** So many in one slot are joined, and not one less. */
const PIECES = 64;

test("drain, repair and compaction that meet copies with flipped bits take nothing of them over (D11)", async (t) => {
  const cluster = await TestCluster.start(t, ["--storage", "3", ...FAST]);
  const copies = new ChunkCopies(cluster);
  const status = async () =>
    JSON.parse((await bigfsd(["status", "--json", "--data", cluster.data])).stdout) as StatusReply;
  const noneButThese = async (flipped: readonly string[]) => {
    const others = (await copies.wrong()).filter((path) => !flipped.includes(path));
    if (others.length > 0) throw new Error(`bytes that nobody wrote are in ${others.join(", ")}`);
  };
  const until = async (met: (status: StatusReply) => boolean) => {
    while (!met(await status()));
  };
  const isWhole = ({ nodes, underReplicated, pending, surplus = 0 }: StatusReply) =>
    nodes.every(({ state }) => state === "UP" || state === "DRAINING") && underReplicated + pending + surplus === 0;
  const does = async (...args: string[]) => {
    const { code, stderr } = await bigfsd([...args, "--data", cluster.data]);
    t.equal(code, 0, `${args.join(" ")} ${stderr}`);
  };
  /** Nothing wrong but what was flipped; then that is mended, and every file is as it was written. */
  const check = async (store: string, flipped: readonly string[]) => {
    await noneButThese(flipped);
    await does("node", "scrub", store);
    while ((await copies.wrong()).length > 0);
    await until(isWhole);
    await sh("sync; echo 3 > /proc/sys/vm/drop_caches");
    await sh(`sha256sum --quiet -c ${cluster.dir}/sums`, { cwd: cluster.mnt });
  };
  await sh(
    `for i in $(seq ${FILES}); do head -c 10000 /dev/urandom > f$i; done; sync -f .; sha256sum * > ${cluster.dir}/sums`,
    { cwd: cluster.mnt },
  );
  await until(isWhole);
  t.same(await copies.wrong(), []);

  const part = async (name: string, work: () => Promise<void>) => {
    if ((await t.test(name, work))?.ok === false) throw new Error(`what follows ${name} is not tried`);
  };
  await part("drain", async () => {
    const flipped = await copies.flip("store2");
    await does("node", "drain", "store2");
    const isEmpty = ({ nodes }: StatusReply) => nodes.some(({ name, copies: left }) => name === "store2" && !left);
    // A copy with wrong bytes that is not confirmed would keep it from ending.
    while (!isEmpty(await status())) await noneButThese(flipped);
    await does("node", "drain", "store2", "--cancel");
    await check("store2", flipped);
  });

  await part("repair", async () => {
    const flipped = await copies.flip("store3");
    await cluster.kill("store1");
    const { quarantine } = new Layout((await cluster.member("store3")).data);
    const before = (await readdir(quarantine)).length;
    while ((await readdir(quarantine)).length === before) await noneButThese(flipped);
    await cluster.up();
    await check("store3", flipped);
  });

  await part("compaction", async () => {
    const whole = contentOf("pieces", PIECE * PIECES);
    const write = async (mnt: string, flags: string, from: number, to: number) => {
      const file = await open(join(mnt, "pieces"), flags);
      for (let n = from; n < to; n++) {
        await file.write(whole, n * PIECE, PIECE, n * PIECE);
        await file.datasync();
      }
      await file.close();
    };
    await write(cluster.mnt, "wx", 0, PIECES - 1);
    await until(isWhole);
    const flipped = await copies.flip("store1");
    // One that has nothing in its memory, and asks the stores for all but its own piece.
    const other = await cluster.mountAgain("other", ["--no-short-circuit", ...FAST]);
    const info = async () =>
      JSON.parse((await bigfsd(["info", "/pieces", "--data", cluster.data, "--json"])).stdout) as { slices: unknown[] };
    t.equal((await info()).slices.length, PIECES - 1);
    // Who looked at them last is asked to join them, which may be somebody who has gone.
    do await write(other, "r+", PIECES - 1, PIECES);
    while ((await info()).slices.length > 1);
    await writeFile(join(cluster.dir, "pieces"), whole);
    await check("store1", flipped);
    await sh(`cmp ${cluster.dir}/pieces ${cluster.mnt}/pieces`);
  });

  await t.test("and nothing that BigFS keeps for itself is ever to be seen (D25)", async (t) => {
    const names = ["pieces", ...Array.from({ length: FILES }, (_, n) => `f${n + 1}`)];
    t.same((await readdir(cluster.mnt)).sort(), names.sort());
    for (const name of [".bigfs", "chunks", "tmp", "journal", "quarantine", "meta.db", "cluster.key", "lost+found"]) {
      await t.rejects(readdir(join(cluster.mnt, name)), { code: "ENOENT" }, name);
    }
  });
});
