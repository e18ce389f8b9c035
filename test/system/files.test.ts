import { join } from "node:path";
import root, { test } from "tap";
import { DRIVERS } from "../../mount/driver.js";
import { TestCluster } from "../helpers/cluster.js";
import { sh } from "../helpers/run.js";
import { shared } from "../helpers/shared.js";

const DROP = "sync; echo 3 > /proc/sys/vm/drop_caches";
const CHUNK = 1024 * 1024;
/** Once more than memory may hold; with the other driver it is about the calls. */
const BIG = { own: "500M", "fuse-native": "200M" } as const;

const started = {
  own: shared(() => TestCluster.start(root, ["--driver", "own"])),
  "fuse-native": shared(() => TestCluster.start(root, ["--driver", "fuse-native"])),
};

for (const driver of DRIVERS) {
  test(`big, sparse, empty and chunk-sized files have the same bytes back with cold caches (${driver})`, async (t) => {
    const cluster = await started[driver]();
    const source = join(cluster.dir, "source");
    await sh(
      `mkdir ${source} && cd ${source}
       head -c ${BIG[driver]} /dev/urandom > big
       : > empty
       for n in ${CHUNK - 1} ${CHUNK} ${CHUNK + 1} 1 4096 4097; do head -c $n /dev/urandom > size-$n; done
       head -c 10000 /dev/urandom > sparse; truncate -s 300M sparse
       head -c 5000 /dev/urandom | dd of=sparse bs=1 seek=123456789 conv=notrunc status=none
       printf x | dd of=far bs=1 seek=5G status=none`,
    );
    const sums = (dir: string) => sh("sha256sum big empty size-* sparse", { cwd: dir });
    await sh(`cp big empty size-* ${cluster.mnt}/ && cp --sparse=always sparse far ${cluster.mnt}/`, { cwd: source });
    const expected = await sums(source);
    t.equal(await sums(cluster.mnt), expected, "warm");
    await cluster.staysSmall(t);
    await cluster.down();
    await cluster.up();
    await sh(DROP);
    t.equal(await sums(cluster.mnt), expected, "cold");
    t.equal(await sh("stat -c %s far && tail -c 1 far", { cwd: cluster.mnt }), `${5 * 2 ** 30 + 1}\nx`);
    t.ok(Number(await sh("stat -c %b sparse", { cwd: cluster.mnt })) * 512 < 8 * CHUNK, "holes take no space");

    await cluster.staysSmall(t);
  });
}

test("what the daemons keep can be read by no other user of the machine", async (t) => {
  const cluster = await started.own();
  await sh("head -c 3M /dev/urandom > secret; sync secret", { cwd: cluster.mnt });
  const kept = "find meta store? -name '*.chunk' -o -name 'meta.db*' -o -name journal";
  t.ok((await sh(kept, { cwd: cluster.data })).split("\n").length > 8);
  t.equal(await sh("find meta store? -perm /077", { cwd: cluster.data }), "");
});
