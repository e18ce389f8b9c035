import type { Core } from "./core.js";
import type { Found } from "./filesystem.js";
import type { Inode } from "./inode.js";

/** What the kernel is told about a name that leads to the inode. */
export function foundOf(core: Core, inode: Inode, isEntryKept: boolean): Found {
  const { attr, attrMs } = core.inodes.attributes(inode);
  return { attr, attrMs, entryMs: core.inodes.validMs(isEntryKept) };
}

/** What the kernel is told about a name that does not exist. */
export function notFound(core: Core, isEntryKept: boolean): Found {
  return { attr: undefined, attrMs: 0, entryMs: core.inodes.validMs(isEntryKept) };
}
