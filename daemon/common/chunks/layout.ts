import { join } from "node:path";

/**
 * The data folder:
 *
 *     identity.json   who this is
 *     lock.*          who uses it now
 *     journal         which chunks are fsynced
 *     scrub.json      when the chunks of each folder were last read in full
 *     tmp/            files that are being written; emptied at each start
 *     chunks/HH/      chunk files in 256 folders; chunks with neighbouring ids share one, so that one fsync of a folder
 *                     serves many of them
 *     quarantine/     chunk files that were found bad or that nobody can explain, with the reason in their names; never
 *                     emptied by the daemon
 *     backup/         files of the metadata daemon (snapshots and its commit log)
 */
export class Layout {
  readonly identity: string;
  readonly journal: string;
  readonly scrub: string;
  readonly temp: string;
  readonly chunks: string;
  readonly quarantine: string;
  readonly backup: string;

  constructor(readonly root: string) {
    this.identity = join(root, "identity.json");
    this.journal = join(root, "journal");
    this.scrub = join(root, "scrub.json");
    this.temp = join(root, "tmp");
    this.chunks = join(root, "chunks");
    this.quarantine = join(root, "quarantine");
    this.backup = join(root, "backup");
  }

  /** The folders of chunk files. */
  get folders(): string[] {
    return Array.from({ length: FOLDERS }, (_, n) => join(this.chunks, hex(n, 2)));
  }

  folderOf(id: number): string {
    return join(this.chunks, hex(folderNumber(id), 2));
  }

  pathOf(id: number): string {
    return join(this.folderOf(id), fileName(id));
  }
}

/** Folders of chunk files. */
export const FOLDERS = 256;

/** Which of them a chunk's file is in. */
export function folderNumber(id: number): number {
  return Math.floor(id / 256) % FOLDERS;
}

export function fileName(id: number): string {
  return `${hex(id, 16)}.chunk`;
}

/** undefined: not the name of a chunk file. */
export function idOfName(name: string): number | undefined {
  const [, digits] = /^([0-9a-f]{16})\.chunk$/.exec(name) ?? [];
  const id = digits === undefined ? NaN : Number.parseInt(digits, 16);
  return Number.isSafeInteger(id) ? id : undefined;
}

function hex(n: number, digits: number): string {
  return n.toString(16).padStart(digits, "0");
}
