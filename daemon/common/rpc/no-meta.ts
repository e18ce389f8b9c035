import type { FsError } from "../../../proto/errno.js";
import { StartupError } from "../running.js";

/** What to tell whoever could not open a stream to a metadata daemon: why, and the way out. */
export function noMeta(address: string, cause: FsError): StartupError {
  if (cause.errno === "EACCES") {
    return new StartupError(`the metadata daemon at ${address} has another cluster key`, {
      hint: "give the key file of that cluster with --key FILE (or BIGFS_KEY)",
      cause,
    });
  }
  if (cause.errno === "EPROTO")
    return new StartupError(cause.detail, { hint: "check the address given with --meta", cause });
  const start =
    "start the metadata daemon there ('bigfsd up', or 'bigfsd meta'), or give its address with --meta HOST:PORT";
  const silent =
    "is that its address (--meta HOST:PORT), and do the network and its firewalls let this machine through?";
  const why = (cause.detail || cause.errno).replace(`${address} `, "").replace("cannot be reached: ", "");
  return new StartupError(`the metadata daemon at ${address} cannot be reached: ${why}`, {
    hint: cause.errno === "ETIMEDOUT" ? silent : start,
    cause,
  });
}
