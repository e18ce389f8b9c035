/** ok: looked at and good; note: good to know; warning: will hurt one day; error: does not work, or data is at risk. */
export const LEVELS = ["ok", "note", "warning", "error"] as const;
export type Level = (typeof LEVELS)[number];

/** What was looked at and how it is. */
export interface Finding {
  readonly level: Level;
  /** What was looked at, a fixed word for programs: "fuse-device". */
  readonly check: string;
  readonly what: string;
  /** The line that fixes it: a command where there is one. */
  readonly fix?: string;
}

export const ok = (check: string, what: string): Finding => ({ level: "ok", check, what });

export function finding(level: Exclude<Level, "ok">, check: string, what: string, fix?: string): Finding {
  return { level, check, what, ...(fix === undefined ? {} : { fix }) };
}
