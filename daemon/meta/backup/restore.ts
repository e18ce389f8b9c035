/** Rebuilds the metadata from what storage nodes keep: the newest whole snapshot, and the log behind it up to a gap. */
import type { VolumeRow } from "../../../proto/gen/bigfs/v1/rows.js";
import { FsError } from "../../../proto/errno.js";
import { StartupError } from "../../common/running.js";
import type { MetaStore } from "../metastore.js";
import type { BackupNode } from "./backup-node.js";
import { readSegment, type LoggedBatch } from "./commit-log.js";
import { openBackup } from "./dump.js";
import { putRows } from "./load.js";
import { parseName, snapshotsIn, type Named } from "./names.js";
import { inNewFolder } from "./new-volume.js";
import { renew } from "./renew.js";

export type Source = Pick<BackupNode, "address" | "list" | "download">;

export interface Restored {
  readonly volume: VolumeRow;
  readonly snapshot: string;
  /** Commits of the log behind it. */
  readonly commits: number;
  /** When the last thing that is in it was written, seconds since 1970. */
  readonly moment: number;
  /** What could not be read. */
  readonly problems: readonly string[];
}

interface Held extends Named {
  readonly sources: Source[];
}

/** StartupError: the nodes have no whole snapshot, or the folder is not new; then nothing is under the final name. */
export async function restoreFrom(sources: readonly Source[], folder: string): Promise<Restored> {
  const files = await heldBy(sources);
  const problems: string[] = [];
  const incarnation = Math.max(0, ...files.map((file) => file.incarnation)) + 1;
  for (const snapshot of snapshotsIn(files) as Held[]) {
    for (const source of snapshot.sources) {
      try {
        const restored = await inNewFolder(folder, (store) =>
          restoreOne(store, { snapshot, source, files, problems }, incarnation),
        );
        return { ...restored, snapshot: snapshot.name, problems };
      } catch (error) {
        if (!(error instanceof FsError)) throw error;
        problems.push(problemOf(snapshot, source, error));
      }
    }
  }
  throw new StartupError(
    `these storage nodes have no whole snapshot of the metadata${problems.map((problem) => `\n  ${problem}`).join("")}`,
    { hint: "name further nodes with --from, or load a dump with 'bigfsd meta load'" },
  );
}

async function heldBy(sources: readonly Source[]): Promise<Held[]> {
  const held = new Map<string, Held>();
  for (const source of sources) {
    for (const { name } of await source.list()) {
      const named = parseName(name);
      if (named === undefined) continue;
      const known = held.get(name) ?? { ...named, sources: [] };
      known.sources.push(source);
      held.set(name, known);
    }
  }
  return [...held.values()];
}

async function restoreOne(
  store: MetaStore,
  from: {
    readonly snapshot: Held;
    readonly source: Source;
    readonly files: readonly Held[];
    readonly problems: string[];
  },
  incarnation: number,
): Promise<Pick<Restored, "volume" | "commits" | "moment">> {
  const { snapshot, source, files, problems } = from;
  const backup = await openBackup(source.download(snapshot.name));
  await putRows(store, backup);
  let moment = backup.header.created?.sec ?? 0;
  let at = snapshot.last;
  for (;;) {
    const segment = await nextSegment(files, snapshot.life, at, problems);
    if (segment === undefined) break;
    for (const batch of segment.batches) if (batch.seq > at) await store.commit(batch);
    at = segment.batches.at(-1)?.seq ?? at;
    moment = segment.created;
  }
  const rest = files.filter(({ kind, life, last }) => kind === "log" && life === snapshot.life && last > at);
  if (rest.length > 0) {
    const last = Math.max(...rest.map((file) => file.last));
    problems.push(`commit ${at + 1} cannot be had, and so none after it, up to ${last}`);
  }
  const volume = await renew(store, Math.max(incarnation, backup.header.volume.incarnation + 1));
  return { volume, commits: at - snapshot.last, moment };
}

/** A segment that begins with commit at + 1 or before it and ends after it, from whoever has it whole. */
async function nextSegment(
  files: readonly Held[],
  life: string,
  at: number,
  problems: string[],
): Promise<{ readonly batches: readonly LoggedBatch[]; readonly created: number } | undefined> {
  const fitting = files.filter(
    (file) => file.kind === "log" && file.life === life && file.first <= at + 1 && file.last > at,
  );
  for (const file of fitting.sort((a, b) => b.last - a.last)) {
    for (const source of file.sources) {
      try {
        const backup = await openBackup(source.download(file.name));
        const batches = await readSegment(backup);
        const isIt = batches[0]?.seq === file.first && batches.at(-1)?.seq === file.last && backup.header.life === life;
        if (!isIt) throw new FsError("EBADMSG", "it is another one");
        return { batches, created: backup.header.created?.sec ?? 0 };
      } catch (error) {
        if (!(error instanceof FsError)) throw error;
        problems.push(problemOf(file, source, error));
      }
    }
  }
  return undefined;
}

function problemOf({ name }: Named, { address }: Source, { errno, detail }: FsError): string {
  return `${address}: ${name}: ${detail === "" ? errno : detail}`;
}
