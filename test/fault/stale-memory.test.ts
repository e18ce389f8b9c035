import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "tap";
import { Layout } from "../../daemon/common/chunks/layout.js";
import { nodeDisk } from "../../daemon/store/disk.js";
import { LoopDisk } from "../helpers/loop-disk.js";
import { chunkOf, openStore } from "../unit/store/chunks.js";

const MiB = 1024 * 1024;

/** Changes one byte of the disk where these bytes are, under the filesystem. */
async function spoil(image: string, bytes: Buffer): Promise<void> {
  const file = await open(image, "r+");
  try {
    const window = Buffer.alloc(8 * MiB);
    for (let at = 0; ; at += window.length - bytes.length) {
      const { bytesRead } = await file.read(window, 0, window.length, at);
      if (bytesRead === 0) throw new Error("they are not on the disk");
      const found = window.subarray(0, bytesRead).indexOf(bytes);
      if (found < 0) continue;
      await file.write(Buffer.from([(bytes[0] ?? 0) ^ 1]), 0, 1, at + found);
      return;
    }
  } finally {
    await file.close();
  }
}

test("D7, D19: a copy that only memory has right is found bad by whoever verifies it", async (t) => {
  const own = await mkdtemp(join(tmpdir(), "bigfs-"));
  t.teardown(() => rm(own, { recursive: true }));
  const folder = join(own, "disk");
  await LoopDisk.mount(t, folder, 64);
  const data = join(folder, "data");
  const store = await openStore(nodeDisk, { data });
  const chunk = chunkOf(7, MiB, { sync: true });
  await store.put(chunk);
  const path = new Layout(data).pathOf(7);
  await nodeDisk.read(path, [{ off: 0, len: 2 * MiB }]);
  await spoil(`${folder}.img`, chunk.data.subarray(500_000, 500_100));
  const [inMemory] = await nodeDisk.read(path, [{ off: 0, len: 2 * MiB }]);
  t.ok(inMemory?.includes(chunk.data), "memory still has what was written");
  await t.rejects(store.verify(7), /bad checksum/);
  t.equal(store.entry(7), undefined, "it went to quarantine");
  store.close();
});
