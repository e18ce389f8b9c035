import { dirname } from "node:path";
import type { OpenFile, Range } from "../../../daemon/common/chunks/open-file.js";
import type { Disk, WrittenFile } from "../../../daemon/store/disk.js";

interface File {
  /** What reads show. */
  bytes: Buffer;
  /** What the last fsync made safe. */
  safe: Buffer;
  /** What an fsync that failed has left unsafe: the kernel takes it for written, and the next fsync succeeds without it. */
  forgotten?: Buffer;
}

/** Bytes that a disk writes together. */
const BLOCK = 4096;

/** A number from 0 to below `below`. */
export type Chance = (below: number) => number;

/** What becomes of one call: done; refused with that error; refused, and no call after it does anything. */
export type Verdict = "do" | { readonly code: string } | "die before" | "die after";

/**
 * A disk in memory whose calls a test can fail one by one, and whose power it can cut: then files have any part of what
 * was not fsynced (or zeros instead), and names that were not fsynced are the old or the new ones.
 */
export class MemoryDisk implements Disk {
  #names = new Map<string, File>();
  #safeNames = new Map<string, File>();
  readonly #folders = new Set<string>(["/", "/data", "/data2"]);
  /** Every call that had an effect, "label path". */
  readonly log: string[] = [];
  /** Says what becomes of a call; all are done by default. */
  verdict: (label: string, path: string) => Verdict = () => "do";
  freeBytes = 2 ** 40;
  isDead = false;
  /** Files that were made and are not closed. */
  openFiles = 0;

  /** `turn`: real calls never end in the turn that made them; this is how long they take. */
  constructor(private readonly turn: () => Promise<void> = () => new Promise((resolve) => setImmediate(resolve))) {}

  async create(path: string, parts: readonly Uint8Array[]): Promise<WrittenFile> {
    await this.write(path, parts);
    const file = this.#file(path);
    this.openFiles++;
    let isOpen = true;
    return {
      // It has another name by now, or none.
      sync: () => {
        const name = [...this.#names].find(([, other]) => other === file)?.[0] ?? "(removed)";
        const fsync = (): void => {
          if (!isOpen) throw systemError("EBADF", name);
          keep(file);
        };
        return this.#call("fsync", name, fsync, { refused: () => forget(file) });
      },
      close: () => {
        if (!isOpen) throw systemError("EBADF", path);
        isOpen = false;
        this.openFiles--;
      },
    };
  }

  write(path: string, parts: readonly Uint8Array[]): Promise<void> {
    const bytes = Buffer.concat(parts);
    const put = (content: Buffer): void => void this.#names.set(path, { bytes: content, safe: Buffer.alloc(0) });
    // A process that dies in the middle leaves half a file.
    return this.#call("write", path, () => put(bytes), { half: () => put(bytes.subarray(0, bytes.length / 2)) });
  }

  append(path: string, bytes: Buffer): Promise<void> {
    const add = (more: Buffer): void => {
      const file = this.#names.get(path) ?? { bytes: Buffer.alloc(0), safe: Buffer.alloc(0) };
      file.bytes = Buffer.concat([file.bytes, more]);
      this.#names.set(path, file);
    };
    return this.#call("append", path, () => add(bytes), { half: () => add(bytes.subarray(0, bytes.length / 2)) });
  }

  read(path: string, ranges: readonly Range[]): Promise<Buffer[]> {
    return this.#call("read", path, () => {
      const { bytes } = this.#file(path);
      return ranges.map(({ off, len }) => Buffer.from(bytes.subarray(off, off + len)));
    });
  }

  open(path: string): Promise<OpenFile> {
    const read = async (range: Range): Promise<Buffer> => (await this.read(path, [range]))[0] ?? Buffer.alloc(0);
    return this.#call("open", path, () => {
      this.#file(path);
      return { read, close: () => undefined };
    });
  }

  size(path: string): Promise<number> {
    return this.#call("size", path, () => this.#file(path).bytes.length);
  }

  sync(path: string): Promise<void> {
    const sync = (): void => {
      const file = this.#names.get(path);
      if (file !== undefined) keep(file);
      else if (this.#folders.has(path)) this.#syncNames(path);
      else throw systemError("ENOENT", path);
    };
    return this.#call("sync", path, sync, { refused: () => forget(this.#names.get(path)) });
  }

  rename(from: string, into: string): Promise<void> {
    return this.#call("rename", into, () => {
      this.#names.set(into, this.#file(from));
      this.#names.delete(from);
    });
  }

  remove(path: string): Promise<void> {
    return this.#call("remove", path, () => {
      this.#file(path);
      this.#names.delete(path);
    });
  }

  list(folder: string): Promise<string[]> {
    return this.#call("list", folder, () => this.filesIn(folder));
  }

  makeFolder(path: string): Promise<void> {
    return this.#call("makeFolder", path, () => void this.#folders.add(path));
  }

  free(folder: string): Promise<number> {
    return this.#call("free", folder, () => this.freeBytes);
  }

  /** Names in a folder, for the test. */
  filesIn(folder: string): string[] {
    return [...this.#names.keys()]
      .filter((path) => dirname(path) === folder)
      .map((path) => path.slice(folder.length + 1));
  }

  /** The bytes of a file, for the test to damage. */
  peek(path: string): Buffer {
    return this.#file(path).bytes;
  }

  poke(path: string, bytes: Buffer): void {
    this.#file(path).bytes = bytes;
  }

  /** The process has died, or the machine has with it; the next process finds the disk so. */
  restart(powerCut: Chance | undefined): void {
    this.isDead = false;
    this.verdict = () => "do";
    this.log.length = 0;
    if (powerCut !== undefined) this.#cut(powerCut);
  }

  #cut(chance: Chance): void {
    const names = new Map<string, File>();
    for (const path of new Set([...this.#names.keys(), ...this.#safeNames.keys()])) {
      const shown = this.#names.get(path);
      const safe = this.#safeNames.get(path);
      const file = shown === safe || chance(2) === 0 ? safe : shown;
      if (file !== undefined) names.set(path, file);
    }
    for (const file of new Set(names.values())) {
      if (file.bytes === file.safe) continue;
      const kept = Math.min(file.safe.length, file.bytes.length);
      const length = [kept, file.bytes.length, kept + chance(file.bytes.length - kept + 1)][chance(3)] ?? kept;
      const bytes = Buffer.from(file.bytes.subarray(0, length));
      // Blocks that were not written are zeros; the first, with a file's head, may have been.
      if (chance(3) === 0) bytes.fill(0, chance(2) === 0 ? kept : Math.max(kept, Math.min(BLOCK, length)));
      file.bytes = file.safe = bytes;
    }
    this.#names = names;
    this.#safeNames = new Map(names);
  }

  #syncNames(folder: string): void {
    for (const path of new Set([...this.#names.keys(), ...this.#safeNames.keys()])) {
      if (dirname(path) !== folder) continue;
      const file = this.#names.get(path);
      if (file === undefined) this.#safeNames.delete(path);
      else this.#safeNames.set(path, file);
    }
  }

  #file(path: string): File {
    const file = this.#names.get(path);
    if (file === undefined) throw systemError("ENOENT", path);
    return file;
  }

  /** `half`: what a process that dies in it leaves. `refused`: what a failure does. */
  async #call<T>(
    label: string,
    path: string,
    effect: () => T,
    { half, refused }: { readonly half?: () => void; readonly refused?: () => void } = {},
  ): Promise<T> {
    await this.turn();
    if (this.isDead) throw systemError("DEAD", path);
    const verdict = this.verdict(label, path);
    if (typeof verdict === "object") {
      refused?.();
      throw systemError(verdict.code, path);
    }
    if (verdict === "die before") {
      this.isDead = true;
      half?.();
      throw systemError("DEAD", path);
    }
    const result = effect();
    this.log.push(`${label} ${path}`);
    if (verdict === "die after") {
      this.isDead = true;
      throw systemError("DEAD", path);
    }
    return result;
  }
}

function keep(file: File): void {
  if (file.bytes !== file.forgotten) file.safe = file.bytes;
}

function forget(file: File | undefined): void {
  if (file !== undefined && file.safe !== file.bytes) file.forgotten = file.bytes;
}

function systemError(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code });
}
