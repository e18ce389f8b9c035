import { mkdir, readdir, rename, rmdir, stat, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import root, { test } from "tap";
import { DRIVERS } from "../../mount/driver.js";
import { ABILITIES } from "../helpers/abilities.js";
import { TestCluster } from "../helpers/cluster.js";
import { must, sh } from "../helpers/run.js";
import { shared } from "../helpers/shared.js";

/** Far more than a mount keeps idle inodes; with the other driver, which lists all at once, it is about the calls. */
const MANY = { own: 25_000, "fuse-native": 5_000 } as const;

for (const driver of DRIVERS) {
  const takes = ABILITIES[driver].names;
  const started = shared(() => TestCluster.start(root, ["--driver", driver]));

  test(`names of every byte, of 255 bytes, and not of 256 (D27; ${driver}: ${takes})`, async (t) => {
    const cluster = await started();
    const at = (name: Buffer) => Buffer.concat([Buffer.from(`${cluster.mnt}/`), name]);
    const bytes = Array.from({ length: 255 }, (_, i) => i + 1).filter((b) => b !== 0x2f && b !== 0x2e);
    const [taken, not] = takes === "bytes" ? [bytes, []] : [bytes.filter((b) => b < 0x80), [0x80, 0xc3, 0xff]];
    for (const byte of taken) await writeFile(at(Buffer.from([byte])), `${byte}`);
    for (const byte of not) await t.rejects(writeFile(at(Buffer.from([byte])), ""), { code: "EILSEQ" });
    const long = takes === "bytes" ? Buffer.alloc(255, 0xff) : Buffer.from(`${"\u00e9".repeat(126)}\u20ac`);
    await writeFile(at(long), "long");
    const expected = [...taken.map((b) => Buffer.from([b])), long].map((b) => b.toString("latin1")).sort();
    const listed = async () => (await readdir(cluster.mnt, "buffer")).map((b) => b.toString("latin1")).sort();
    t.same(await listed(), expected);
    await t.rejects(writeFile(at(Buffer.alloc(256, 0x61)), ""), { code: "ENAMETOOLONG" });
    await t.rejects(stat(at(Buffer.alloc(256, 0x61))), { code: "ENAMETOOLONG" });
    await t.rejects(rename(at(long), at(Buffer.alloc(256, 0x61))), { code: "ENAMETOOLONG" });
    await cluster.down();
    await cluster.up();
    t.same(await listed(), expected, "also after a restart");
  });

  test(`a folder with ${MANY[driver]} entries lists, looks up and empties (${driver})`, async (t) => {
    const cluster = await started();
    const dir = join(cluster.mnt, "many");
    const last = String(MANY[driver] - 1).padStart(5, "0");
    await mkdir(dir);
    await must("python3", [
      "-c",
      `import os\nfor i in range(${MANY[driver]}): os.close(os.open("${dir}/%05d" % i, os.O_CREAT | os.O_WRONLY))`,
    ]);
    const names = await readdir(dir);
    t.equal(names.length, MANY[driver]);
    t.equal(new Set(names).size, MANY[driver], "each once");
    t.equal((await stat(join(dir, last))).size, 0);
    await unlink(join(dir, "00000"));
    t.equal(Number(await sh("ls -f | wc -l", { cwd: dir })), MANY[driver] + 1, "with . and ..");
    await t.rejects(rmdir(dir), { code: "ENOTEMPTY" });
    await must("rm", ["-rf", dir]);
    await t.rejects(stat(dir), { code: "ENOENT" });
  });
}
