import { test } from "tap";
import { fsck, pathsOf, type Checked } from "../../../../daemon/meta/fsck/fsck.js";
import type { Finding } from "../../../../daemon/meta/fsck/finding.js";
import { key } from "../../../../daemon/meta/keys.js";
import { MemoryStore } from "../../../../daemon/meta/memory-store.js";
import { ReplicaState } from "../../../../proto/gen/bigfs/v1/rows.js";
import { DAMAGES, change, good, remove } from "./tampered.js";

async function found(rows: Map<string, Uint8Array>, part?: number): Promise<{ all: Finding[]; checked: Checked }> {
  const all: Finding[] = [];
  const running = fsck(await new MemoryStore({}, rows).snapshot(), part);
  for (;;) {
    const { value, done } = await running.next();
    if (done === true) return { all, checked: value };
    all.push(value);
  }
}

test("of metadata that agrees with itself nothing is found, whatever the size of the parts", async (t) => {
  for (const part of [undefined, 1, 2, 3]) {
    const { all, checked } = await found(good(), part);
    t.same([all, checked], [[], { inodes: 4, chunks: 3 }], `parts of ${part ?? "any size"}`);
  }
});

test("each thing that is wrong is found, and nothing else", async (t) => {
  for (const [what, damage, expected] of DAMAGES) {
    for (const part of [undefined, 1]) {
      const rows = good();
      damage(rows);
      const { all } = await found(rows, part);
      t.same(
        all.map(({ check, inos, chunk }) => [check, chunk === 0 ? (inos[0] ?? 0) : chunk]),
        expected,
        what,
      );
    }
  }
});

test("an entry of what does not exist, and a folder that does not exist, are found", async (t) => {
  const rows = good();
  remove(key.inode(7))(rows);
  const without = (await found(rows)).all.map(({ check, inos }) => `${check} ${inos.join()}`);
  t.same(without, ["entry 7", "entry 7", "usage "]);
  const folderless = good();
  remove(key.inode(5))(folderless);
  const checks = (await found(folderless)).all.map(({ check, inos }) => `${check} ${inos.join()}`);
  t.same(checks.sort(), ["entry 5", "folder 5", "folder 5", "usage "]);
});

test("a lost chunk is told with the files that need it, and where they are", async (t) => {
  const rows = good();
  change(key.chunk(20), { replicas: [{ node: 1, state: ReplicaState.PENDING, synced: false, since: 0 }] })(rows);
  const [lost] = (await found(rows)).all;
  t.match(lost, { check: "lost", chunk: 20, inos: [7] });
  const paths = await pathsOf(await new MemoryStore({}, rows).snapshot(), new Set([7, 5, 99]));
  t.same(
    [...paths],
    [
      [7, "/sub/f"],
      [5, "/sub"],
    ],
  );
});
