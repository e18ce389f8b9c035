import { createHash } from "node:crypto";
import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { TestCluster, bigfsd } from "../helpers/cluster.js";

const PIECE = 8 * 1024;
/** So few that nobody puts them together. */
const FEW = 40;

test("a slot that was written in many pieces becomes one chunk, while other mounts read it", async (t) => {
  const cluster = await TestCluster.start(t, ["--storage", "2"]);
  const other = await cluster.mountAgain("other");
  const pieces = Array.from({ length: 80 }, (_, i) => Buffer.alloc(PIECE, i + 1));
  const file = await open(join(cluster.mnt, "file"), "wx+");
  const info = async (): Promise<{ slices: unknown[] }> => {
    const { stdout } = await bigfsd(["info", "/file", "--data", cluster.data, "--json"]);
    return JSON.parse(stdout) as { slices: unknown[] };
  };
  for (const [n, piece] of pieces.entries()) {
    await file.write(piece);
    await file.datasync();
    if (n + 1 === FEW) t.equal((await info()).slices.length, FEW);
  }
  const whole = Buffer.concat(pieces);
  const reader = await open(join(other, "file"), "r");
  // What uses it has it noted; the client that did is asked some seconds later.
  do {
    const { buffer } = await reader.read({ buffer: Buffer.alloc(whole.length), position: 0 });
    if (!buffer.equals(whole)) throw new Error("what was read is not what was written");
  } while ((await info()).slices.length > 1);
  await reader.close();
  await file.close();
  const digest = (data: Buffer) => createHash("sha256").update(data).digest("hex");
  for (const mnt of [cluster.mnt, other]) t.equal(digest(await readFile(join(mnt, "file"))), digest(whole));
});
