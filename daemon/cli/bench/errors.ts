import { ERRNO, type Errno, FsError } from "../../../proto/errno.js";

/** What can be done about an error, by errno. */
const WAYS_OUT: Readonly<Record<string, string>> = {
  EACCES: "this user may not write there: give a folder of your own, or change its mode",
  EPERM: "this user may not write there: give a folder of your own",
  EROFS: "it is read-only: mount it for writing, or give another folder",
  ENOSPC: "no space is left: make some, or give smaller --big-size, --small-files, --threads",
  EDQUOT: "the quota is used up: make some room, or give smaller --big-size, --small-files, --threads",
  ENOTCONN: "its mount has died: unmount it (bigfsd umount) and mount it again",
  EIO: "the filesystem failed: its log, or that of the kernel, says why",
};

/** At the begin, when nothing of the benchmark is there yet. */
const WAYS_IN: Readonly<Record<string, string>> = {
  ENOENT: "there is no such folder, or nothing can be made in it: make it, or mount what should be there",
  ENOTDIR: "it is no folder",
};

/** The folder cannot be used. */
export function cannotBegin(dir: string, error: NodeJS.ErrnoException): Error {
  const { code = "EIO", message } = error;
  return told(code, `${dir}: ${WAYS_IN[code] ?? WAYS_OUT[code] ?? message}`, error);
}

/** `doing`: what failed, and where. */
export function cannotGoOn(doing: string, failure: { readonly code: string; readonly message: string }): Error {
  const { code, message } = failure;
  const wayOut = WAYS_OUT[code];
  return told(code, `${doing}: ${message}${wayOut === undefined ? "" : `\n  ${wayOut}`}`, failure);
}

function told(code: string, detail: string, cause: unknown): Error {
  if (Object.hasOwn(ERRNO, code)) return new FsError(code as Errno, detail, { cause });
  return new Error(`${detail} (${code})`, { cause });
}
