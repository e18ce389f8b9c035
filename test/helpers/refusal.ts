import type { Errno } from "../../proto/errno.js";

/** For t.throws and t.rejects: the FsError with this errno. */
export function refusal(errno: Errno): { name: string; errno: Errno } {
  return { name: "FsError", errno };
}
