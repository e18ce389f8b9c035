import { fail } from "../../proto/errno.js";
import type { Xattr } from "../../proto/gen/bigfs/v1/rows.js";
import { type Name, nameBytes, nameOf } from "../../proto/name.js";
import { type Core, SELF } from "./core.js";
import type { Caller, Maybe, XattrChange } from "./filesystem.js";

/** Others than these cannot be. */
const NAMESPACES = ["user.", "trusted.", "security.", "system.posix_acl_"];

/** Extended attributes, kept together with the attributes of the inode. */
export class ExtendedAttributes {
  constructor(private readonly core: Core) {}

  /** The kernel has checked that the caller may ask for this name. */
  get(ino: number, name: Name): Maybe<Buffer> {
    const known = this.#all(ino);
    return known instanceof Promise ? known.then((xattrs) => valueOf(xattrs, name)) : valueOf(known, name);
  }

  /** The kernel does not check names in a list: trusted ones are root's. */
  list(who: Caller, ino: number): Maybe<readonly Xattr[]> {
    const known = this.#all(ino);
    return known instanceof Promise ? known.then((xattrs) => visible(who, xattrs)) : visible(who, known);
  }

  #all(ino: number): Maybe<readonly Xattr[]> {
    const { core } = this;
    const inode = core.inodes.get(ino);
    if (inode !== undefined && core.inodes.isCached(inode)) {
      if (inode.attr.hasXattrs === false) return [];
      if (inode.xattrs?.mode === inode.view().mode) return inode.xattrs.all;
    }
    return core.ask("getxattrs", { ino }, SELF, ({ xattrs }, ticket) => {
      if (inode !== undefined && core.inodes.isCached(inode) && ticket.isFreshInode(ino)) {
        inode.xattrs = { all: xattrs, mode: inode.view().mode };
      }
      return xattrs;
    });
  }

  set(who: Caller, ino: number, { name, value, flags, killSgid }: XattrChange): Promise<void> {
    const args = { ino, name: nameBytes(name), value, flags, killSgid };
    return this.#change(ino, () => this.core.ask("setxattr", args, this.core.credOf(who), () => undefined));
  }

  remove(who: Caller, ino: number, name: Name): Promise<void> {
    const args = { ino, name: nameBytes(name) };
    return this.#change(ino, () => this.core.ask("removexattr", args, this.core.credOf(who), () => undefined));
  }

  async #change(ino: number, work: () => Promise<void>): Promise<void> {
    this.core.mustBeWritable();
    try {
      await work();
    } finally {
      this.core.inodes.invalidate(ino);
    }
  }
}

function valueOf(xattrs: readonly Xattr[], name: Name): Buffer {
  const bytes = nameBytes(name);
  const found = xattrs.find((xattr) => xattr.name.equals(bytes));
  return found?.value ?? fail(NAMESPACES.some((space) => name.startsWith(space)) ? "ENODATA" : "EOPNOTSUPP");
}

function visible(who: Caller, xattrs: readonly Xattr[]): readonly Xattr[] {
  return who.uid === 0 ? xattrs : xattrs.filter(({ name }) => !nameOf(name).startsWith("trusted."));
}
