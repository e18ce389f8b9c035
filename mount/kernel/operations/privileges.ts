import { readFileSync } from "node:fs";
import type { Attr } from "../../../proto/gen/bigfs/v1/meta.js";
import type { Caller, FileSystem, Maybe } from "../../vfs/filesystem.js";
import type { Head } from "../codec/header.js";
import { after } from "./operation.js";

const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_ISUID = 0o4000;
const S_ISGID = 0o2000;
const S_IXGRP = 0o10;

/**
 * The permission bits that are left when somebody else than the owner changed a file's content, or its owner changed:
 * as Linux does it (setattr_should_drop_suidgid), set-user-id goes, and set-group-id where the group may execute or the
 * asker is not in it. Undefined: nothing changes.
 */
export function withoutPrivileges(who: Caller, { mode, gid }: Pick<Attr, "mode" | "gid">): number | undefined {
  if ((mode & S_IFMT) === S_IFDIR || (mode & (S_ISUID | S_ISGID)) === 0) return undefined;
  const losesGroupBit = (mode & S_ISGID) !== 0 && ((mode & S_IXGRP) !== 0 || !isIn(who, gid));
  const gone = S_ISUID | (losesGroupBit ? S_ISGID : 0);
  return (mode & gone) === 0 ? undefined : mode & 0o7777 & ~gone;
}

/** The kernel tells one group of its asker; the others are in /proc, for it waits for the answer. */
function isIn({ uid, gid, pid }: Caller, group: number): boolean {
  if (uid === 0 || gid === group) return true;
  try {
    const status = readFileSync(`/proc/${pid}/status`, "latin1");
    return (/^Groups:(.*)$/m.exec(status)?.[1] ?? "").trim().split(/\s+/).includes(String(group));
  } catch {
    return false;
  }
}

/** HANDLE_KILLPRIV_V2: the kernel leaves this to the filesystem and says in each request when it is to be done. */
export function killPrivileges(fs: FileSystem, { who, node }: Head, handle: number | undefined): Maybe<void> {
  return kill(fs, who, node, handle);
}

/** Requests that do not say it: whoever is not root has no CAP_FSETID. `node` is the file that was changed. */
export function killOthersPrivileges(fs: FileSystem, { who }: Head, node: number, handle: number): Maybe<void> {
  return who.uid === 0 ? undefined : kill(fs, who, node, handle);
}

function kill(fs: FileSystem, who: Caller, node: number, handle: number | undefined): Maybe<void> {
  return after(fs.getattr(who, node, handle), ({ attr }) => {
    const mode = withoutPrivileges(who, attr);
    if (mode === undefined) return undefined;
    const owner = { uid: attr.uid, gid: attr.gid, pid: who.pid };
    return after(fs.setattr(owner, node, { mode }, handle), () => undefined);
  });
}
