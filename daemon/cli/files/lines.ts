/** Files as people and programs are shown them. */
import type { Node } from "../../../mount/files/files.js";
import { type Path, shownName, shownPath } from "../../../mount/files/path.js";
import type { Attr } from "../../../proto/gen/bigfs/v1/meta.js";
import type { Time } from "../../../proto/gen/bigfs/v1/rows.js";
import { nameOf } from "../../../proto/name.js";

const TYPES: Readonly<Record<number, { readonly letter: string; readonly word: string }>> = {
  0o010000: { letter: "p", word: "fifo" },
  0o020000: { letter: "c", word: "character device" },
  0o040000: { letter: "d", word: "folder" },
  0o060000: { letter: "b", word: "block device" },
  0o100000: { letter: "-", word: "file" },
  0o120000: { letter: "l", word: "link" },
  0o140000: { letter: "s", word: "socket" },
};

/** "1 file", "2 files" */
export function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

/** "file", "folder", "link", ... */
export function typeOf({ mode }: Attr): string {
  return TYPES[mode & 0o170000]?.word ?? "unknown";
}

/** "-rwxr-xr-x" */
export function modeText({ mode }: Attr): string {
  const letters = [6, 3, 0].map((shift, i) => {
    const bits = (mode >> shift) & 7;
    const special = (mode & (0o4000 >> i)) !== 0;
    const x = (bits & 1) !== 0;
    const mark = i === 2 ? "t" : "s";
    const last = special ? (x ? mark : mark.toUpperCase()) : x ? "x" : "-";
    return `${(bits & 4) !== 0 ? "r" : "-"}${(bits & 2) !== 0 ? "w" : "-"}${last}`;
  });
  return `${TYPES[mode & 0o170000]?.letter ?? "?"}${letters.join("")}`;
}

/** "2026-03-01 12:00:05", local time. */
export function timeText(time: Time | undefined): string {
  const date = new Date((time?.sec ?? 0) * 1000);
  const two = (value: number): string => String(value).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** Columns of a long listing; `shown`: its name there. */
export function longRow(shown: string, { attr, target }: Node): string[] {
  const { nlink, uid, gid, size, mtime } = attr;
  const last = target === undefined ? shown : `${shown} -> ${shownTarget(target)}`;
  return [modeText(attr), `${nlink}`, `${uid}`, `${gid}`, `${size}`, timeText(mtime), last];
}

function shownTarget(target: Buffer): string {
  return shownName(nameOf(target));
}

/** Rows of a table that tells everything about it. */
export function attributeRows(path: Path, { attr, target }: Node): string[][] {
  return [
    ["path", shownPath(path)],
    ["type", typeOf(attr)],
    ...(target === undefined ? [] : [["leads to", shownTarget(target)]]),
    ["inode", `${attr.ino}`],
    ["mode", `${modeText(attr)} (${(attr.mode & 0o7777).toString(8)})`],
    ["owner", `${attr.uid}:${attr.gid}`],
    ["links", `${attr.nlink}`],
    ["size", `${attr.size} bytes, ${attr.stored} stored`],
    ["modified", timeText(attr.mtime)],
    ["changed", timeText(attr.ctime)],
    ["read", timeText(attr.atime)],
    ["made", timeText(attr.btime)],
  ];
}

/** For `--json`. Sizes in bytes, times in seconds since 1970, mode as octal text; `path` as `ls` shows it. */
export function describeNode(path: Path, { attr, target }: Node) {
  const { ino, uid, gid, nlink, size, stored } = attr;
  return {
    path: shownPath(path),
    type: typeOf(attr),
    ...(target === undefined ? {} : { target: shownTarget(target) }),
    ino,
    mode: (attr.mode & 0o7777).toString(8).padStart(4, "0"),
    uid,
    gid,
    links: nlink,
    size,
    stored,
    atime: secondsOf(attr.atime),
    mtime: secondsOf(attr.mtime),
    ctime: secondsOf(attr.ctime),
    btime: secondsOf(attr.btime),
  };
}

function secondsOf(time: Time | undefined): number {
  return (time?.sec ?? 0) + (time?.nsec ?? 0) / 1e9;
}
