/** Rows that agree with each other, and ways to make them disagree. */
import { key, type Key, type RowKind, type Rows } from "../../../../daemon/meta/keys.js";
import { decodeRow, encodeRow } from "../../../../daemon/meta/row-codec.js";
import {
  ChunkRow,
  CookieRow,
  EntryRow,
  GarbageRow,
  InodeRow,
  OrphanRow,
  ReplicaState,
  SlotRow,
  SweepRow,
  VolumeRow,
} from "../../../../proto/gen/bigfs/v1/rows.js";
import { nameBytes, type Name } from "../../../../proto/name.js";

const [DIR, FILE] = [0o040000, 0o100000];

/** The root with `sub/f`, a second name of that file, and a chunk of it. */
export function good(): Map<string, Uint8Array> {
  const rows = new Map<string, Uint8Array>();
  const put = <K extends RowKind>(at: Key<K>, row: Rows[K]) => rows.set(at, encodeRow(at, row));
  const entry = (dir: number, name: string, cookie: number, child: { ino: number; type: number }) => {
    put(key.entry(dir, name as Name), EntryRow.fromPartial({ ...child, cookie }));
    put(key.cookie(dir, cookie), CookieRow.fromPartial({ ...child, name: nameBytes(name as Name) }));
  };
  const folder = (ino: number, parent: number, more: Partial<InodeRow>) =>
    put(key.inode(ino), InodeRow.fromPartial({ ino, mode: DIR | 0o755, parent, nextCookie: 9, ...more }));
  folder(1, 1, { nlink: 3, children: 2 });
  folder(5, 1, { nlink: 2, children: 1 });
  entry(1, "sub", 3, { ino: 5, type: DIR });
  entry(1, "second", 4, { ino: 7, type: FILE });
  entry(5, "f", 3, { ino: 7, type: FILE });
  put(key.inode(7), InodeRow.fromPartial({ ino: 7, mode: FILE | 0o644, nlink: 2, size: 90, stored: 90, slotEnd: 1 }));
  put(key.slot(7, 0), SlotRow.fromPartial({ slices: [{ len: 90, chunk: 20 }], dropped: [21] }));
  const replicas = [{ node: 1, state: ReplicaState.AVAILABLE }];
  put(key.chunk(20), ChunkRow.fromPartial({ id: 20, refs: 1, replicas }));
  put(key.chunk(21), ChunkRow.fromPartial({ id: 21, refs: 1, replicas }));
  put(key.chunk(22), ChunkRow.fromPartial({ id: 22, garbage: true, replicas }));
  put(key.garbage(22), GarbageRow.fromPartial({ chunk: 22 }));
  put(key.inode(8), InodeRow.fromPartial({ ino: 8, mode: FILE, nlink: 0, size: 10 }));
  put(key.orphan(8), OrphanRow.fromPartial({ ino: 8 }));
  put(key.usage, { inodes: 4, bytes: 100 });
  put(key.volume, VolumeRow.fromPartial({ replicas: 1, minReplicas: 1, servedSec: 10 }));
  return rows;
}

export type Damage = (rows: Map<string, Uint8Array>) => void;

export function change<K extends RowKind>(at: Key<K>, more: Partial<Rows[K]>): Damage {
  return (rows) => {
    rows.set(at, encodeRow(at, { ...decodeRow(at, rows.get(at) ?? Buffer.alloc(0)), ...more }));
  };
}

export const remove =
  (at: Key): Damage =>
  (rows) =>
    rows.delete(at);

/** What is done to good rows, and what must be found; nothing else. */
export const DAMAGES: readonly (readonly [string, Damage, readonly (readonly [string, number])[]])[] = [
  ["a wrong number of entries", change(key.inode(5), { children: 2 }), [["children", 5]]],
  ["a missing name in the listing", remove(key.cookie(5, 3)), [["listing", 5]]],
  ["another inode in the listing", change(key.cookie(1, 4), { ino: 8 }), [["listing", 1]]],
  ["a cookie that will be given again", change(key.inode(1), { nextCookie: 4 }), [["cookies", 1]]],
  ["links of a folder", change(key.inode(1), { nlink: 2 }), [["links", 1]]],
  ["links of a file", change(key.inode(7), { nlink: 3 }), [["names", 7]]],
  ["another parent", change(key.inode(5), { parent: 7 }), [["parent", 5]]],
  ["stored bytes", change(key.inode(7), { stored: 91 }), [["stored", 7]]],
  ["a file without a name that nobody will remove", remove(key.orphan(8)), [["orphan", 8]]],
  ["an orphan that does not exist", (rows) => rows.set(key.orphan(9), Buffer.alloc(0)), [["orphan", 0]]],
  ["a note of work that does not exist", change(key.inode(7), { sweeping: true }), [["sweep", 7]]],
  [
    "work on what does not exist",
    (rows) => rows.set(key.sweep(9), encodeRow(key.sweep(9), SweepRow.fromPartial({ ino: 9 }))),
    [["sweep", 9]],
  ],
  ["references", change(key.chunk(20), { refs: 2 }), [["refs", 20]]],
  ["a chunk that is not known", remove(key.chunk(21)), [["missing", 21]]],
  ["no copy", change(key.chunk(20), { replicas: [] }), [["lost", 20]]],
  ["garbage that will never go", remove(key.garbage(22)), [["garbage", 22]]],
  ["garbage that does not say so", change(key.chunk(22), { garbage: false }), [["garbage", 22]]],
  [
    "garbage that is named",
    change(key.chunk(20), { garbage: true }),
    [
      ["garbage", 20],
      ["garbage", 20],
    ],
  ],
  ["the sum of all", change(key.usage, { bytes: 99 }), [["usage", 0]]],
];
