import type { FileSystem, Maybe } from "../../vfs/filesystem.js";
import type { Head } from "../codec/header.js";
import { after } from "./operation.js";

const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const S_ISUID = 0o4000;
const S_ISGID = 0o2000;
const S_IXGRP = 0o10;

/**
 * The permission bits that are left when somebody else than the owner changed a file's content, or its owner changed:
 * as Linux does it, set-user-id goes, and set-group-id where the group may execute (without that it means locking).
 * Undefined: nothing changes.
 */
export function withoutPrivileges(mode: number): number | undefined {
  if ((mode & S_IFMT) !== S_IFREG) return undefined;
  const gone = S_ISUID | ((mode & S_IXGRP) !== 0 ? S_ISGID : 0);
  return (mode & gone) === 0 ? undefined : mode & 0o7777 & ~gone;
}

/** HANDLE_KILLPRIV_V2: the kernel leaves this to the filesystem and says in each request when it is to be done. */
export function killPrivileges(fs: FileSystem, head: Head, handle: number | undefined): Maybe<void> {
  return after(fs.getattr(head.who, head.node, handle), ({ attr }) => {
    const mode = withoutPrivileges(attr.mode);
    if (mode === undefined) return undefined;
    const owner = { uid: attr.uid, gid: attr.gid, pid: head.who.pid };
    return after(fs.setattr(owner, head.node, { mode }, handle), () => undefined);
  });
}
