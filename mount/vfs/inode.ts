import type { Attr } from "../../proto/gen/bigfs/v1/meta.js";
import type { Xattr } from "../../proto/gen/bigfs/v1/rows.js";
import type { FileState } from "./file-state.js";
import { laterOf } from "./times.js";
import { shownWith } from "./told-attributes.js";
import { WriteErrors } from "./write-errors.js";

/** That this session has a folder exclusively: another one each time that it learns so. */
export interface Exclusivity {
  readonly folder: Inode;
  /** The session has made the folder, and nobody else has looked at it since. */
  readonly isMaker: boolean;
}

/** An inode that the kernel knows, that is open or has data that is not stored, or that is cached (idle). */
export class Inode {
  /** The newest attributes that were seen, as the metadata daemon has them. */
  attr: Attr;
  /** Value of InodeTable.epoch when `attr` became cached; anything else: it must be asked for again. */
  cachedIn = 0;
  /** A folder that several mounts change: the attributes may be shown until then (monotonic) without being cached. */
  shownUntilMs = 0;
  /** References that the kernel holds. */
  lookups = 0;
  /** Changes of names about it that were told and are not answered: what is known until then is known here alone. */
  told = 0;
  /** Regular files that are open or have data that is not stored. */
  file: FileState | undefined;
  readonly errors = new WriteErrors();
  /** Until then (monotonic) the kernel may answer from its own copy of the attributes. */
  keptUntilMs = 0;
  /** Version of the file whose data the kernel's pages hold; 0: unknown. */
  pagesVersion = 0;
  /** A name of it was removed through this mount, so that the kernel finds it by that name no more. */
  lostName = false;
  /** A folder that this session has exclusively. */
  exclusive: Exclusivity | undefined;
  /** Anything else: that of the folder that it is known by, and by nothing else to anybody else. */
  enclosed: Exclusivity | undefined;
  /** Truncated to nothing through this mount: the next close after a write makes the new data durable, as ext4 does. */
  wasEmptied = false;
  /** Target of a symbolic link: it never changes. */
  target: Buffer | undefined;
  /** Valid while the attributes are cached and have this mode, which access control lists show too. */
  xattrs: { readonly all: readonly Xattr[]; readonly mode: number } | undefined;

  constructor(
    attr: Attr,
    /** Different for every Inode object: what was cached about a forgotten folder does not revive. */
    readonly serial: number,
  ) {
    this.attr = attr;
  }

  get ino(): number {
    return this.attr.ino;
  }

  /** Attributes as this mount sees them: with its own writes that are not stored yet. */
  view(): Attr {
    const writer = this.file?.writer;
    if (writer === undefined || !writer.isDirty) return this.attr;
    const told = this.file?.told;
    const attr = told === undefined ? this.attr : shownWith(this.attr, told);
    const mtime = writer.mtime ?? attr.mtime;
    return {
      ...attr,
      size: Math.max(attr.size, writer.endSince(attr.truncSeq)),
      mtime,
      ctime: laterOf(writer.mtime, attr.ctime),
    };
  }

  /** Attributes as an own change makes them that is not answered yet and leaves the data alone. */
  changedHere(attr: Attr): void {
    const { version } = this.attr;
    this.attr = { ...attr, version: version + 1 };
    // What is known of the data is still right.
    if (version === 0) return;
    if (this.pagesVersion === version) this.pagesVersion += 1;
    if (this.file?.slots.version === version) this.file.slots.version += 1;
  }
}
