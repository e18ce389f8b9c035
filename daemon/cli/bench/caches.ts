import { execFile } from "node:child_process";
import { access, constants, writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import { FsError } from "../../../proto/errno.js";

const runProgram = promisify(execFile);

const DROP_CACHES = "/proc/sys/vm/drop_caches";

/**
 * How cold a read was. `all dropped`: this machine's kernel had nothing of it in memory. `file dropped`: only the page
 * cache of the file was emptied. `warm`: nothing was. What the filesystem's own processes or other machines have in
 * memory is never known.
 */
export type Cache = "all dropped" | "file dropped" | "warm";

/** EACCES when this process may not drop all caches. */
export async function mayDropAll(): Promise<void> {
  try {
    await access(DROP_CACHES, constants.W_OK);
  } catch (cause) {
    throw new FsError("EACCES", `--drop-caches needs root (${DROP_CACHES} cannot be written): leave it out`, { cause });
  }
}

/** Writes back what is dirty, and empties all caches of the kernel. */
export async function dropAll(): Promise<void> {
  await runProgram("sync");
  await writeFile(DROP_CACHES, "3");
}

/** Empties the page cache of files that were fsynced, which needs no rights; false where that cannot be asked for. */
export async function dropFiles(paths: readonly string[]): Promise<boolean> {
  try {
    // Node has no posix_fadvise; with a count of 0 this does nothing else.
    for (const path of paths) await runProgram("dd", [`if=${path}`, "iflag=nocache", "count=0", "status=none"]);
    return true;
  } catch {
    return false;
  }
}
