import { FsError, fail } from "../../proto/errno.js";
import type { Attr } from "../../proto/gen/bigfs/v1/meta.js";
import type { Name } from "../../proto/name.js";
import type { Caller, FileSystem, Found } from "../vfs/filesystem.js";
import { type Path, pathOf, shownPath } from "./path.js";

/** Bytes of one read. */
const PIECE = 1024 * 1024;

/** Symbolic links that one path may lead over, as in Linux. */
const LINKS_MAX = 40;

const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const S_IFDIR = 0o040000;
const S_IFLNK = 0o120000;

const R = 4;
const X = 1;

/** What a name leads to. */
export interface Node {
  readonly ino: number;
  readonly attr: Attr;
  /** Where a symbolic link leads, when that was asked (`withTarget`). */
  readonly target?: Buffer;
}

/** A name in a folder, and what is there. */
export interface Place {
  readonly dir: number;
  readonly name: Name;
  readonly node: Node | undefined;
}

export interface Entry {
  readonly name: Name;
  readonly node: Node;
}

export function isFile({ attr }: Node): boolean {
  return (attr.mode & S_IFMT) === S_IFREG;
}

export function isFolder({ attr }: Node): boolean {
  return (attr.mode & S_IFMT) === S_IFDIR;
}

export function isLink({ attr }: Node): boolean {
  return (attr.mode & S_IFMT) === S_IFLNK;
}

/**
 * Files by path, without a kernel: what it would do between a program's call and a filesystem. Permissions are checked by
 * the metadata daemon's rules, for each folder once. Absolute targets of links begin at the root of the volume.
 */
export class Files {
  readonly #searched = new Map<number, Promise<void>>();

  constructor(
    readonly fs: FileSystem,
    readonly who: Caller,
  ) {}

  /** ENOENT, ENOTDIR, ELOOP and EACCES name the path. `follow`: if it is a symbolic link, what that leads to. */
  async stat(path: Path, { follow = true } = {}): Promise<Node> {
    const { end, stack } = await this.#walk(path, follow);
    if (end === undefined) return this.#node(stack.at(-1) ?? this.fs.root);
    return end.node ?? fail("ENOENT", `${shownPath(path)} does not exist`);
  }

  /** The name at the end of the path, which need not exist; a link there is not followed. EINVAL for the root and "..". */
  async place(path: Path): Promise<Place> {
    const { end } = await this.#walk(path, false);
    return end ?? fail("EINVAL", `${shownPath(path)} ends in no name: it cannot be made, moved, removed or replaced`);
  }

  /** The place that a name leads to over links, which need not exist: what is written there is written to its target. */
  async target(path: Path): Promise<Place | undefined> {
    return (await this.#walk(path, true)).end;
  }

  /** The same; of a symbolic link with its target. */
  async withTarget(node: Node): Promise<Node> {
    return isLink(node) ? { ...node, target: await this.fs.readlink(this.who, node.ino) } : node;
  }

  /** Everything in the folder, by name. */
  async list(dir: number): Promise<Entry[]> {
    await this.fs.access(this.who, dir, R);
    const { handle } = await this.fs.opendir(this.who, dir);
    const known: Entry[] = [];
    const held: number[] = [];
    const asked: Promise<Entry | undefined>[] = [];
    try {
      for (let cookie = 0, before = -1; cookie !== before;) {
        before = cookie;
        await this.fs.readdir(handle, cookie, true, (entry) => {
          cookie = entry.cookie;
          const { name, ino, found } = entry;
          if (name === "." || name === "..") return true;
          if (found?.attr === undefined) {
            asked.push(this.child(dir, name));
            return true;
          }
          known.push({ name, node: { ino, attr: found.attr } });
          held.push(ino);
          return true;
        });
        // Nothing is kept for a kernel.
        for (const ino of held.splice(0)) this.fs.forget(ino, 1);
      }
    } finally {
      await this.fs.releasedir(handle);
    }
    const others = await Promise.all(asked);
    const all = [...known, ...others.filter((entry) => entry !== undefined)];
    return all.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** What the name leads to; undefined: nothing. */
  async child(dir: number, name: Name): Promise<Entry | undefined> {
    const node = this.#taken(await this.fs.lookup(this.who, dir, name));
    return node && { name, node };
  }

  /** The content, piece by piece. EISDIR, or EINVAL for what is no file. */
  async *read({ ino }: Node): AsyncGenerator<Buffer> {
    const flags = { read: true, write: false, append: false, truncate: false, sync: false };
    const { handle } = await this.fs.open(this.who, ino, flags);
    try {
      for (let at = 0; ;) {
        const piece = await this.fs.read(handle, at, PIECE);
        if (piece.length === 0) return;
        yield piece;
        at += piece.length;
      }
    } finally {
      await this.fs.release(handle);
    }
  }

  /** The folder, made with those above it where they are missing. */
  async mkdirs(path: Path, mode: number): Promise<Node> {
    let made: Node | undefined;
    for (let length = 1; length <= path.length; length++) {
      const part = path.slice(0, length);
      const place = await this.target(part);
      if (place === undefined) continue;
      made = place.node ?? (await this.mkdir(place, mode));
      if (!isFolder(made)) fail("ENOTDIR", `${shownPath(part)} is no folder`);
    }
    return made ?? this.stat(path);
  }

  async mkdir({ dir, name }: Place, mode: number): Promise<Node> {
    await this.#search(dir);
    const node = this.#taken(await this.fs.mkdir(this.who, dir, name, mode, 0));
    return node ?? fail("EIO", "a new folder has no attributes");
  }

  /** Removes a name; `isFolder`: an empty folder. */
  async remove({ dir, name }: { readonly dir: number; readonly name: Name }, isFolder: boolean): Promise<void> {
    await this.#search(dir);
    await (isFolder ? this.fs.rmdir(this.who, dir, name) : this.fs.unlink(this.who, dir, name));
  }

  async rename(
    from: Pick<Place, "dir" | "name">,
    into: Pick<Place, "dir" | "name">,
    { noReplace = false } = {},
  ): Promise<void> {
    await Promise.all([this.#search(from.dir), this.#search(into.dir)]);
    const names = { fromDir: from.dir, fromName: from.name, intoDir: into.dir, intoName: into.name };
    await this.fs.rename(this.who, { ...names, noReplace, exchange: false });
  }

  async #walk(path: Path, follow: boolean): Promise<{ end: Place | undefined; stack: number[] }> {
    const stack: number[] = [this.fs.root];
    const steps = [...path];
    let links = 0;
    // So many of the steps are those of links.
    let added = 0;
    for (let step = steps.shift(); step !== undefined; step = steps.shift()) {
      const dir = stack.at(-1) ?? this.fs.root;
      const at = shownPath(path.slice(0, path.length - steps.length + added));
      if (added > 0) added--;
      await this.#search(dir, at);
      if (step === "..") {
        if (stack.length > 1) stack.pop();
        continue;
      }
      const node = (await this.child(dir, step))?.node;
      const isLast = steps.length === 0;
      if (node !== undefined && isLink(node) && (!isLast || follow)) {
        if (++links > LINKS_MAX) fail("ELOOP", `${shownPath(path)} leads over too many links`);
        const target = await this.fs.readlink(this.who, node.ino);
        if (target.at(0) === 0x2f) stack.length = 1;
        const further = pathOf(target);
        steps.unshift(...further);
        added += further.length;
        continue;
      }
      if (isLast) return { end: { dir, name: step, node }, stack };
      if (node === undefined) fail("ENOENT", `${at} does not exist`);
      if (!isFolder(node)) fail("ENOTDIR", `${at} is no folder`);
      stack.push(node.ino);
    }
    return { end: undefined, stack };
  }

  async #node(ino: number): Promise<Node> {
    const { attr } = await this.fs.getattr(this.who, ino);
    return { ino, attr };
  }

  /** Whoever passes a folder must be allowed to search it. */
  #search(dir: number, what?: string): Promise<void> {
    const known = this.#searched.get(dir);
    if (known !== undefined) return known;
    const checked = Promise.resolve(this.fs.access(this.who, dir, X)).catch((error: unknown) => {
      if (!(error instanceof FsError) || error.errno !== "EACCES" || what === undefined) throw error;
      throw new FsError("EACCES", `${what} lies in a folder that you may not enter`);
    });
    this.#searched.set(dir, checked);
    return checked;
  }

  /** Nothing is kept for a kernel. */
  #taken({ attr }: Found): Node | undefined {
    if (attr === undefined) return undefined;
    this.fs.forget(attr.ino, 1);
    return { ino: attr.ino, attr };
  }
}
