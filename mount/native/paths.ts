import { fail } from "../../proto/errno.js";
import type { Attr } from "../../proto/gen/bigfs/v1/meta.js";
import { type Name, checkedName, nameBytes, nameOf } from "../../proto/name.js";
import type { Caller, FileSystem, Found, Maybe } from "../vfs/filesystem.js";

/** What fuse-native makes of bytes that are not UTF-8: which ones they were is lost. */
const REPLACEMENT = "\ufffd";

/** Under such a name libfuse goes on using a file that was removed while it was open. */
const HIDDEN = /^\.fuse_hidden[0-9a-f]{16}$/;

export interface Place {
  readonly dir: number;
  readonly name: Name;
}

/** Refuses text that stands for bytes which nobody knows any more. */
export function textBytes(text: string): Buffer {
  if (text.includes(REPLACEMENT)) fail("EILSEQ", "only UTF-8 comes through fuse-native");
  return Buffer.from(text);
}

/** Bytes that are not UTF-8 come out as replacement characters. */
export function shownText(name: Name): string {
  return nameBytes(name).toString("utf8");
}

export function isHidingName(name: Name): boolean {
  return HIDDEN.test(name);
}

/**
 * Inodes by path. Each walk begins at the root, in the caches of the filesystem: what other mounts changed is seen, and
 * nothing is kept for a kernel.
 */
export class Paths {
  /** Files without a name that are still open, by the names that libfuse gave them. */
  readonly #hidden = new Map<Name, number>();

  constructor(
    private readonly fs: FileSystem,
    private readonly who: Caller,
  ) {}

  /** ENOENT, ENOTDIR, ENAMETOOLONG, EILSEQ. */
  async attr(path: string): Promise<Attr> {
    const names = namesOf(path);
    const last = names.at(-1);
    const hidden = last === undefined ? undefined : this.#hidden.get(last);
    if (hidden !== undefined) return this.#hiddenAttr(hidden);
    if (last === undefined) return (await this.fs.getattr(this.who, this.fs.root)).attr;
    const dir = await this.#walk(names.slice(0, -1));
    return (await this.child({ dir, name: last })) ?? fail("ENOENT");
  }

  async ino(path: string): Promise<number> {
    return (await this.attr(path)).ino;
  }

  /** The name at the end, which need not exist. EINVAL for the root. */
  async place(path: string): Promise<Place> {
    const names = namesOf(path);
    const name = names.pop() ?? fail("EINVAL");
    return { dir: await this.#walk(names), name };
  }

  async child({ dir, name }: Place): Promise<Attr | undefined> {
    return this.taken(this.fs.lookup(this.who, dir, name));
  }

  /** Gives back the kernel's reference that comes with an answer. */
  async taken(found: Maybe<Found>): Promise<Attr | undefined> {
    const { attr } = found instanceof Promise ? await found : found;
    if (attr !== undefined) this.fs.forget(attr.ino, 1);
    return attr;
  }

  hide(name: Name, ino: number): void {
    this.#hidden.set(name, ino);
  }

  /** Whether it was such a name. */
  unhide(name: Name): boolean {
    return this.#hidden.delete(name);
  }

  async #walk(names: readonly Name[]): Promise<number> {
    let dir = this.fs.root;
    for (const name of names) dir = (await this.child({ dir, name }))?.ino ?? fail("ENOENT");
    return dir;
  }

  /** libfuse subtracts the name that it thinks there is. */
  async #hiddenAttr(ino: number): Promise<Attr> {
    const { attr } = await this.fs.getattr(this.who, ino);
    return { ...attr, nlink: attr.nlink + 1 };
  }
}

function namesOf(path: string): Name[] {
  return path
    .split("/")
    .filter((step) => step !== "")
    .map((step) => checkedName(textBytes(step)));
}

/** The name of an extended attribute. */
export function attributeName(text: string): Name {
  return nameOf(textBytes(text));
}
