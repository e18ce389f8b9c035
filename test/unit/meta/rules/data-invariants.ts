import assert from "node:assert/strict";
import { ReplicaState } from "../../../../proto/gen/bigfs/v1/rows.js";
import { idIn, key } from "../../../../daemon/meta/keys.js";
import { isStale } from "../../../../daemon/meta/rules/slot-rows.js";
import type { World } from "./world.js";

/** What must hold of the rows of files and chunks after every operation. */
export function checkData(world: World): void {
  checkSlots(world);
  checkChunks(world);
  checkTotals(world);
}

function checkSlots({ rows, chunkSize }: World): void {
  const stored = new Map<number, number>();
  for (const [at, row] of rows.of("S")) {
    const [ino, slot] = [idIn(at), idIn(at, 1)];
    assert.ok(row.slices.length + row.dropped.length > 0, "a slot row for nothing");
    const sweep = rows.get(key.sweep(ino));
    assert.ok(
      row.dropped.length === 0 || sweep?.remove === true || sweep?.loose.includes(slot),
      "what is loose is known",
    );
    let end = 0;
    for (const slice of row.slices) {
      assert.ok(slice.len > 0 && slice.pos >= end, "slices are in order and do not overlap");
      assert.ok(slice.chunk !== 0 || slice.inline.length === slice.len, "a hole is no slice");
      end = slice.pos + slice.len;
      stored.set(ino, (stored.get(ino) ?? 0) + slice.len);
    }
    assert.ok(end <= chunkSize);
    const inode = rows.get(key.inode(ino));
    if (inode === undefined) {
      assert.ok(rows.get(key.sweep(ino))?.remove, "a slot of no file waits for the sweep");
      continue;
    }
    const stale = rows.run((tx) => isStale(tx, inode, slot, row));
    if (stale) continue;
    assert.ok(end === 0 || slot * chunkSize + end <= inode.size, "no slice lies beyond the end of its file");
    assert.ok(slot < inode.slotEnd || row.slices.length === 0, "slot_end is past every slot");
  }
  for (const [, inode] of rows.of("I")) assert.equal(inode.stored, stored.get(inode.ino) ?? 0, "stored");
}

function checkChunks({ rows }: World): void {
  const named = new Map<number, number>();
  for (const [, row] of rows.of("S")) {
    const chunks = [...row.slices.map(({ chunk }) => chunk), ...row.dropped];
    for (const chunk of chunks) if (chunk !== 0) named.set(chunk, (named.get(chunk) ?? 0) + 1);
  }
  for (const [, chunk] of rows.of("K")) {
    assert.equal(chunk.refs, named.get(chunk.id) ?? 0, `references of chunk ${chunk.id}`);
    const garbage = rows.get(key.garbage(chunk.id));
    assert.equal(chunk.garbage, garbage !== undefined, "the garbage mark agrees");
    if (garbage === undefined) continue;
    assert.equal(chunk.refs, 0, "garbage is named by nothing");
    const doomed = chunk.replicas.filter((copy) => copy.state === ReplicaState.DELETING).map((copy) => copy.node);
    assert.deepEqual(garbage.deleting ? garbage.nodes : [], doomed);
    assert.ok(!garbage.deleting || doomed.length === chunk.replicas.length);
  }
  for (const id of named.keys()) assert.ok(rows.get(key.chunk(id)), `chunk ${id} has a row`);
  for (const [, garbage] of rows.of("G")) assert.ok(rows.get(key.chunk(garbage.chunk)), "garbage has its chunk");
}

function checkTotals({ rows }: World): void {
  const inodes = rows.of("I").map(([, row]) => row);
  const files = inodes.filter((row) => (row.mode & 0o170000) === 0o100000);
  const bytes = files.reduce((sum, row) => sum + row.size, 0);
  assert.deepEqual({ ...rows.get(key.usage) }, { inodes: inodes.length, bytes });
  for (const row of files) assert.equal(row.sweeping, rows.get(key.sweep(row.ino)) !== undefined);
}
