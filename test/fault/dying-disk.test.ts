import { test } from "tap";
import { fetchStatus } from "../../daemon/cli/admin/ask.js";
import { judgeCluster } from "../../daemon/cli/doctor/cluster.js";
import { nodeDisk, type Disk } from "../../daemon/store/disk.js";
import { KEY, Lab, readFile, writeFile } from "../integration/client/lab.js";
import { settle } from "../helpers/fake-clock.js";
import { pattern } from "../unit/mount/vfs/lab.js";

type Fault = "write" | "fsync" | "rename" | "read";

/** The machine's disk, of which one kind of call on chunk files fails with EIO from when it is told. */
class FlakyDisk {
  isFlaky = false;
  failures = 0;
  readonly disk: Disk;

  constructor(fault: Fault) {
    const fails = (kind: Fault, path: string): void => {
      if (!this.isFlaky || kind !== fault || !path.endsWith(".chunk")) return;
      this.failures++;
      throw Object.assign(new Error(`EIO: i/o error, ${kind} '${path}'`), { code: "EIO" });
    };
    this.disk = {
      ...nodeDisk,
      async create(path, parts) {
        fails("write", path);
        const file = await nodeDisk.create(path, parts);
        const sync = async (): Promise<void> => {
          fails("fsync", path);
          await file.sync();
        };
        return { sync, close: () => file.close() };
      },
      async sync(path) {
        fails("fsync", path);
        await nodeDisk.sync(path);
      },
      async rename(from, into) {
        fails("rename", into);
        await nodeDisk.rename(from, into);
      },
      async open(path) {
        fails("read", path);
        return nodeDisk.open(path);
      },
      async read(path, ranges) {
        fails("read", path);
        return nodeDisk.read(path, ranges);
      },
    };
  }
}

for (const fault of ["write", "fsync", "rename", "read"] as const) {
  test(`a disk whose ${fault} fails costs nobody an operation, takes nothing new, and is copied away`, async (t) => {
    const lab = await Lab.start(t, { stores: 2, deadlines: { confirmMs: 2_000, cleanMs: 200 } });
    const flaky = new FlakyDisk(fault);
    await lab.startStore(2, "127.0.0.1:0", { disk: flaky.disk, name: "flaky" });
    const client = await lab.client();
    const files = new Map<string, Buffer>();
    const write = async (name: string): Promise<void> => {
      const data = pattern(600_000, files.size + 1);
      await writeFile(client, name, data);
      files.set(name, data);
    };
    for (let i = 0; i < 6; i++) await write(`before${i}`);
    const status = () => fetchStatus({ meta: lab.meta.listen, key: KEY });
    const node = async () => (await status()).nodes.find(({ name }) => name === "flaky");
    // On disk, or an fsync that fails would be one of those.
    while ((await status()).unsynced > 0) await settle();
    flaky.isFlaky = true;
    for (let i = 0; (await node())?.failing === undefined; i++) {
      await write(`during${i}`);
      const reader = await client.again();
      for (const [name, data] of files) t.ok((await readFile(reader, name)).equals(data), name);
      await reader.stop();
    }
    t.ok(flaky.failures >= 3);
    t.match(await node(), { state: "DRAINING", failing: /EIO/ });
    // Copies that count are on the two others alone.
    while ((await status()).underReplicated > 0) await settle();
    const found = judgeCluster({ meta: lab.meta.listen, status: await status(), skewMs: 0, skewErrorMs: 0 });
    t.match(
      found.filter(({ level }) => level === "error"),
      [{ check: "disk", what: /the disk of storage daemon flaky .* is failing/ }],
    );
    const { chunks } = (await node()) ?? { chunks: 0 };
    for (let i = 0; i < 4; i++) await write(`after${i}`);
    t.ok(((await node())?.chunks ?? 0) <= chunks, "it gets no new chunks");
    const reader = await client.again();
    for (const [name, data] of files) t.ok((await readFile(reader, name)).equals(data), name);
  });
}
