import { mkdir } from "node:fs/promises";
import { StartupError } from "./running.js";

/** Makes a daemon's data folder where there is none. StartupError when that cannot be done. */
export async function makeFolder(dir: string): Promise<void> {
  try {
    await mkdir(dir, { recursive: true });
  } catch (cause) {
    throw new StartupError(`cannot make the data folder ${dir}: ${(cause as Error).message}`, {
      hint: "name a folder that this user may write to",
      cause,
    });
  }
}
