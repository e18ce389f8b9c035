import { readFile } from "node:fs/promises";

export interface MountEntry {
  /** The kernel's number of this mount. */
  readonly id: number;
  /** Where it is mounted. */
  readonly path: string;
  /** Filesystem type with subtype: `fuse.bigfs`. */
  readonly type: string;
  readonly readOnly: boolean;
}

/** The type of our mounts in /proc. */
export const MOUNT_TYPE = "fuse.bigfs";

/** Spaces, tabs, newlines and backslashes come as three octal digits; the bytes are those of the path. */
function unescape(field: string): string {
  const bytes = field.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
  return Buffer.from(bytes, "latin1").toString("utf8");
}

/** The lines of /proc/self/mountinfo (read as latin1) in their order: a later one covers an earlier one. */
export function parseMountinfo(text: string): MountEntry[] {
  return text.split("\n").flatMap((line) => {
    const fields = line.split(" ");
    const dash = fields.indexOf("-", 6);
    const [id, , , , path, options] = fields;
    const type = fields[dash + 1];
    if (dash < 0 || id === undefined || path === undefined || options === undefined || type === undefined) return [];
    return [
      { id: Number(id), path: unescape(path), type: unescape(type), readOnly: options.split(",").includes("ro") },
    ];
  });
}

/** What is mounted exactly there (an absolute path without links), on top. Never touches the mount itself. */
export async function findMount(path: string): Promise<MountEntry | undefined> {
  const text = await readFile("/proc/self/mountinfo", "latin1");
  return parseMountinfo(text).findLast((mount) => mount.path === path);
}
