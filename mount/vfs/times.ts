import type { Time } from "../../proto/gen/bigfs/v1/rows.js";

/** The later one of those that are known. */
export function laterOf<T extends Time | undefined>(a: Time | undefined, b: T): Time | T {
  if (a === undefined) return b;
  return b === undefined || a.sec > b.sec || (a.sec === b.sec && a.nsec > b.nsec) ? a : b;
}
