/**
 * The metadata against itself, as it was on disk at one moment: a snapshot is whole operations, so what does not agree in
 * it is wrong, whatever others do meanwhile.
 */
import { idIn, key, nameIn } from "../keys.js";
import type { StoreSnapshot } from "../metastore.js";
import { decodeRow } from "../row-codec.js";
import { mendUsage } from "../rules/mend.js";
import { ROOT_INO } from "../rules/volume.js";
import { checkChunks, noteIno } from "./check-chunks.js";
import { checkInodes } from "./check-inodes.js";
import { checkGarbage } from "./check-garbage.js";
import { byRule, type Finding } from "./finding.js";
import { rowsIn } from "./rows-in.js";

export interface Checked {
  readonly inodes: number;
  readonly chunks: number;
}

/** Everything that is wrong; returns how much was looked at. `part`: see check-inodes and check-chunks. */
export async function* fsck(rows: StoreSnapshot, part?: number): AsyncGenerator<Finding, Checked> {
  const totals = { inodes: 0, bytes: 0 };
  yield* checkInodes(rows, totals, part);
  const chunks = yield* checkChunks(rows, part);
  yield* checkGarbage(rows);
  const [usage] = await rows.scan({ from: key.usage, to: `${key.usage}\0`, limit: 1 });
  const told = usage === undefined ? { inodes: 0, bytes: 0 } : decodeRow(key.usage, usage.value);
  if (told.inodes !== totals.inodes || told.bytes !== totals.bytes) {
    const what = `there are ${totals.inodes} inodes with ${totals.bytes} bytes, and the volume counts ${told.inodes} with ${told.bytes}`;
    const wrong = { inodes: told.inodes - totals.inodes, bytes: told.bytes - totals.bytes };
    const remedy = byRule("the sums are set right by the difference", (tx) => mendUsage(tx, wrong));
    yield { check: "usage", what, inos: [], chunk: 0, ...remedy };
  }
  return { inodes: totals.inodes, chunks };
}

/** A path of each of these inodes, its names joined by "/"; none of what has none. Reads all entries once. */
export async function pathsOf(rows: StoreSnapshot, inos: ReadonlySet<number>): Promise<Map<number, string>> {
  const found = new Map<number, { dir: number; name: string }>();
  if (inos.size > 0) {
    for await (const { key: at, row } of rowsIn<"E">(rows, { from: "E", to: "F" })) {
      if (inos.has(row.ino)) found.set(row.ino, { dir: idIn(at), name: nameIn(at) });
    }
  }
  const paths = new Map<number, string>();
  for (const [ino, { dir, name }] of found) paths.set(ino, `${await folderPath(rows, dir)}/${name}`);
  return paths;
}

/** Files that name each of these chunks, some; none of what nothing names. Reads all slots once. */
export async function filesOf(rows: StoreSnapshot, chunks: ReadonlySet<number>): Promise<Map<number, number[]>> {
  const found = new Map<number, number[]>();
  if (chunks.size === 0) return found;
  for await (const { key: at, row } of rowsIn<"S">(rows, { from: "S", to: "T" })) {
    for (const chunk of [...row.slices.map((slice) => slice.chunk), ...row.dropped]) {
      if (!chunks.has(chunk)) continue;
      const inos = found.get(chunk) ?? [];
      found.set(chunk, inos);
      noteIno(inos, idIn(at));
    }
  }
  return found;
}

/** "" of the root. */
async function folderPath(rows: StoreSnapshot, ino: number): Promise<string> {
  const names: string[] = [];
  const seen = new Set<number>();
  for (let at = ino; at !== ROOT_INO && !seen.has(at);) {
    seen.add(at);
    const [row] = await rows.scan({ from: key.inode(at), to: `${key.inode(at)}\0`, limit: 1 });
    if (row === undefined) break;
    const { parent } = decodeRow(key.inode(at), row.value);
    const prefix = `E${key.inode(parent).slice(1)}`;
    let name = "?";
    for await (const entry of rowsIn<"E">(rows, { from: prefix, to: `E${key.inode(parent + 1).slice(1)}` })) {
      if (entry.row.ino === at) name = nameIn(entry.key);
    }
    names.unshift(name);
    at = parent;
  }
  return names.map((name) => `/${name}`).join("");
}
