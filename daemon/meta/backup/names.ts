/**
 * Names of the metadata's files on storage nodes, and which of them are needed. Commits are numbered on over all lives of
 * the daemon (CommitRow), but a segment is known to follow only what was written in the same life: somebody may have put
 * an older meta.db in place between two lives.
 *
 *     INCARNATION.LIFE.SEQ.snapshot      all rows as commit SEQ left them
 *     INCARNATION.LIFE.FIRST.LAST.log    the commits FIRST..LAST
 */
import { hex } from "../keys.js";

export interface Named {
  readonly name: string;
  readonly incarnation: number;
  readonly life: string;
  /** Of a snapshot, its last commit. */
  readonly first: number;
  readonly last: number;
  readonly kind: "snapshot" | "log";
}

const NAME = /^([0-9a-f]{4})\.([0-9a-f]{16})\.([0-9a-f]{14})(?:\.([0-9a-f]{14})\.log|\.snapshot)$/;

export function snapshotName(of: { incarnation: number; life: string; seq: number }): string {
  return `${incarnationHex(of)}.${of.life}.${hex(of.seq)}.snapshot`;
}

export function segmentName(of: { incarnation: number; life: string; first: number; last: number }): string {
  return `${incarnationHex(of)}.${of.life}.${hex(of.first)}.${hex(of.last)}.log`;
}

/** undefined: no name of these. */
export function parseName(name: string): Named | undefined {
  const [, incarnation, life, first, last] = NAME.exec(name) ?? [];
  if (incarnation === undefined || life === undefined || first === undefined) return undefined;
  const [from, kind] = [parseInt(first, 16), last === undefined ? ("snapshot" as const) : ("log" as const)];
  return { name, incarnation: parseInt(incarnation, 16), life, first: from, last: parseInt(last ?? first, 16), kind };
}

/** Those that a volume can be rebuilt from, the newest first. */
export function snapshotsIn(files: Iterable<Named>): Named[] {
  const snapshots = [...files].filter(({ kind }) => kind === "snapshot");
  return snapshots.sort((a, b) => b.incarnation - a.incarnation || b.last - a.last || (a.name < b.name ? -1 : 1));
}

/**
 * What is not needed to keep the newest `keep` snapshots that stand on `copies` nodes or more, and the log behind each;
 * `held`: names by node. Nothing when there are fewer, or when a later incarnation was here: then this is not the newest
 * metadata of the volume.
 */
export function surplus(
  held: ReadonlyMap<number, readonly string[]>,
  opts: { readonly keep: number; readonly copies: number; readonly incarnation: number },
): Map<number, string[]> {
  const counts = new Map<string, number>();
  for (const names of held.values()) for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  const files = [...counts.keys()].flatMap((name) => parseName(name) ?? []);
  const kept = snapshotsIn(files)
    .filter(({ name }) => (counts.get(name) ?? 0) >= opts.copies)
    .slice(0, opts.keep);
  const oldest = kept.at(-1);
  const result = new Map<number, string[]>();
  if (oldest === undefined || kept.length < opts.keep) return result;
  if (files.some(({ incarnation }) => incarnation > opts.incarnation)) return result;
  const isOld = (file: Named) =>
    file.incarnation < oldest.incarnation || (file.incarnation === oldest.incarnation && file.last <= oldest.last);
  const isNeeded = (file: Named) =>
    kept.some((one) => one.name === file.name || (one.life === file.life && one.last < file.last));
  const unneeded = new Set(files.filter((file) => isOld(file) && !isNeeded(file)).map(({ name }) => name));
  for (const [node, names] of held)
    result.set(
      node,
      names.filter((name) => unneeded.has(name)),
    );
  return result;
}

function incarnationHex({ incarnation }: { incarnation: number }): string {
  return incarnation.toString(16).padStart(4, "0");
}
