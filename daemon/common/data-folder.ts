import { mkdir, readdir, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { StartupError } from "./running.js";

/** Makes a folder where there is none, a daemon's data folder or `what`. StartupError when that cannot be done. */
export async function makeFolder(dir: string, { what = "data folder" } = {}): Promise<void> {
  try {
    await makeWithParents(dir);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const why = code === "EEXIST" || code === "ENOTDIR" ? "there is a file of that name" : message;
    throw new StartupError(`cannot make the ${what} ${dir}: ${why}`, {
      hint: "name a folder that this user may write to",
      cause,
    });
  }
}

/** Node's own `recursive` never ends in /proc, and says ENOENT of a disk that is read-only. */
async function makeWithParents(dir: string, { isAgain = false } = {}): Promise<void> {
  try {
    await mkdir(dir);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" && !isAgain) {
      await makeWithParents(dirname(dir));
      return makeWithParents(dir, { isAgain: true });
    }
    const isThere = await stat(dir).then(
      (found) => found.isDirectory(),
      () => false,
    );
    if (!isThere) throw error;
  }
}

/** The folder of a freshly made filesystem is not quite empty, nor is one that a daemon has locked. */
const HARMLESS = /^(lost\+found|lock\..*)$/;

/**
 * Whether a data folder without `marker`, the file that a daemon always has there, is a new one: StartupError when it
 * holds other things. `leftover` is what an interrupted start may have left.
 */
export async function mustBeNew(
  dir: string,
  { marker, leftover, daemon }: { readonly marker: string; readonly leftover: string; readonly daemon: string },
): Promise<void> {
  const others = (await readdir(dir)).filter((name) => name !== leftover && !HARMLESS.test(name));
  if (others.length === 0) return;
  const what = others.slice(0, 3).join(", ");
  throw new StartupError(`${dir} has no ${marker}, but it is not empty (${what})`, {
    hint: `is the right disk mounted there? A new ${daemon} daemon needs an empty folder`,
  });
}
