import { fail } from "../../proto/errno.js";
import { type Name, checkedName, nameBytes } from "../../proto/name.js";

/** From the root of the volume; ".." is a step like a name. */
export type Path = readonly (Name | "..")[];

const ESCAPES: Readonly<Record<string, string>> = { n: "\n", t: "\t", r: "\r", "\\": "\\" };
const SHOWN: ReadonlyMap<string, string> = new Map([
  ["\n", "\\n"],
  ["\t", "\\t"],
  ["\r", "\\r"],
]);
/** Characters that a terminal may take for an order, and those that cannot be seen. */
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/gu;
/** What stands for bytes that were no UTF-8 when a program read them; a name may hold it, too. */
const REPLACEMENT = "\ufffd";

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * The path that a person has written, with or without a leading slash. `isEscaped`: written as `shownName` shows names,
 * for bytes that no argument can carry. ENOENT, EINVAL and ENAMETOOLONG for what cannot be.
 */
export function parsePath(text: string, isEscaped = false): Path {
  return pathOf(writtenBytes(text, isEscaped));
}

/** The bytes that a person has written; ENOENT when there are none, EINVAL when they cannot be told from the text. */
export function writtenBytes(text: string, isEscaped: boolean): Buffer {
  if (text === "") fail("ENOENT", "a path is empty: '.' or '/' is what is meant, or a variable has no value");
  if (text.includes(REPLACEMENT))
    fail("EINVAL", `${printable(text)} has bytes that are not UTF-8: write it as it is shown (\\xff), with -e`);
  return isEscaped ? unescaped(text) : Buffer.from(text);
}

/** Text for a person's terminal: what would be an order to it is escaped; lines stay lines. */
export function printable(text: string): string {
  return text.replace(UNSAFE, (char) => (char === "\n" ? char : escaped(char)));
}

/** The same for one line of it. */
export function printableLine(text: string): string {
  return text.replace(UNSAFE, escaped);
}

/** The path in these bytes, as in a symbolic link. */
export function pathOf(bytes: Buffer): Path {
  const steps: (Name | "..")[] = [];
  for (const step of bytes.toString("latin1").split("/")) {
    if (step === "" || step === ".") continue;
    steps.push(step === ".." ? step : checkedName(Buffer.from(step, "latin1")));
  }
  return steps;
}

/** A name for a person's terminal: what is not printable UTF-8 is escaped (\n, \t, \\, \xff), so that two names differ. */
export function shownName(name: Name): string {
  const bytes = nameBytes(name);
  try {
    return shown(UTF8.decode(bytes));
  } catch {
    return [...bytes].map((byte) => (byte < 128 ? shown(String.fromCharCode(byte)) : hex(byte))).join("");
  }
}

export function shownPath(path: Path): string {
  return `/${path.map((step) => (step === ".." ? step : shownName(step))).join("/")}`;
}

function shown(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll(REPLACEMENT, escaped).replace(UNSAFE, escaped);
}

function escaped(char: string): string {
  return SHOWN.get(char) ?? [...Buffer.from(char)].map(hex).join("");
}

function hex(byte: number): string {
  return `\\x${byte.toString(16).padStart(2, "0")}`;
}

function unescaped(text: string): Buffer {
  const parts = text.split(/(\\x[0-9a-fA-F]{2}|\\.?)/u).map((part, i) => {
    if (i % 2 === 0) return Buffer.from(part);
    if (part.startsWith("\\x") && part.length === 4) return Buffer.from([parseInt(part.slice(2), 16)]);
    const char = ESCAPES[part.slice(1)];
    return char === undefined
      ? fail("EINVAL", `'${part}' is no escape: \\n \\t \\r \\\\ \\xHH are`)
      : Buffer.from(char);
  });
  return Buffer.concat(parts);
}
