import { readFile } from "node:fs/promises";
import { hasProc } from "../../daemon/common/process.js";
import { runMount } from "./fusermount.js";

export interface MountEntry {
  /** The kernel's number of this mount; 0 where it tells none (macOS, BSD). */
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

/**
 * What mount(8) prints on macOS and the BSDs: "bigfs on /mnt/x (osxfuse, nodev, nosuid, mounted by me)". The source of
 * ours is `bigfs`, whatever they call the type of a filesystem of FUSE.
 */
export function parseMountOutput(text: string): MountEntry[] {
  return text.split("\n").flatMap((line) => {
    const [, source, path, list] = /^(.*?) on (.*) \(([^()]*)\)$/.exec(line) ?? [];
    const [kind, ...options] = list?.split(", ") ?? [];
    if (source === undefined || path === undefined || kind === undefined) return [];
    const type = source === "bigfs" ? MOUNT_TYPE : kind;
    return [{ id: 0, path, type, readOnly: options.includes("read-only") }];
  });
}

/** What is mounted exactly there (an absolute path without links), on top. Never touches the mount itself. */
export async function findMount(path: string): Promise<MountEntry | undefined> {
  return (await mounts()).findLast((mount) => mount.path === path);
}

async function mounts(): Promise<MountEntry[]> {
  return hasProc()
    ? parseMountinfo(await readFile("/proc/self/mountinfo", "latin1"))
    : parseMountOutput(await runMount());
}
