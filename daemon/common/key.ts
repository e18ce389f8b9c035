import { randomBytes } from "node:crypto";
import { link, open, readFile, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { StartupError } from "./running.js";

/** Bytes of a cluster key; the file has them as hex digits. */
export const KEY_BYTES = 32;

const COPY = "copy the key that 'bigfsd key' or 'bigfsd up' made for this cluster, and give it with --key FILE";

const WHY_NOT: Readonly<Record<string, string>> = {
  ENOENT: "no such file",
  EISDIR: "it is a folder",
  EACCES: "permission denied",
};

/** The cluster key in this file. StartupError when it is missing, malformed or readable by others. */
export async function readKey(file: string): Promise<Buffer> {
  let text: string;
  let mode: number;
  try {
    text = (await readFile(file, "utf8")).trim();
    mode = (await stat(file)).mode;
  } catch (cause) {
    const { code = "", message } = cause as NodeJS.ErrnoException;
    const hint = code === "EACCES" ? `run it as the user whose file that is ('ls -l ${file}' shows it)` : COPY;
    throw new StartupError(`cannot read the cluster key ${file}: ${WHY_NOT[code] ?? message}`, { hint, cause });
  }
  if ((mode & 0o077) !== 0) {
    throw new StartupError(`the cluster key ${file} can be read by other users`, { hint: `chmod 600 ${file}` });
  }
  if (!new RegExp(`^[0-9a-f]{${KEY_BYTES * 2}}$`).test(text)) {
    throw new StartupError(`${file} is not a cluster key (${KEY_BYTES * 2} hex digits)`, {
      hint: COPY,
    });
  }
  return Buffer.from(text, "hex");
}

/**
 * Writes a new key (mode 0600) unless the file exists, which is a StartupError with `mustBeNew`, as is a folder that
 * cannot be written; half a key never stands under that name.
 */
export async function createKey(file: string, { mustBeNew = false } = {}): Promise<void> {
  const temp = `${file}.${process.pid}-${randomBytes(4).toString("hex")}`;
  try {
    const handle = await open(temp, "wx", 0o600);
    try {
      await handle.writeFile(`${randomBytes(KEY_BYTES).toString("hex")}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await link(temp, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw cannotWrite(file, error as NodeJS.ErrnoException);
    if (mustBeNew) throw new StartupError(`${file} exists already`, { hint: "name a new file; it was left as it is" });
  } finally {
    await rm(temp, { force: true }).catch(() => {});
  }
}

function cannotWrite(file: string, cause: NodeJS.ErrnoException): StartupError {
  const why = cause.code === "ENOENT" ? `there is no folder ${dirname(file)}` : (cause.code ?? cause.message);
  const hint = "name a file in a folder that is there and that this user may write to";
  return new StartupError(`cannot write the cluster key ${file}: ${why}`, { hint, cause });
}
