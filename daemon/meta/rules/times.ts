import type { Time } from "../../../proto/gen/bigfs/v1/rows.js";
import type { Context } from "./context.js";

/** Below 0: a is earlier. */
export function compareTimes(a: Time, b: Time): number {
  return a.sec - b.sec || a.nsec - b.nsec;
}

export function laterOf(a: Time | undefined, b: Time): Time {
  return a === undefined || compareTimes(a, b) < 0 ? b : a;
}

export function earlierOf(a: Time, b: Time): Time {
  return compareTimes(a, b) < 0 ? a : b;
}

/** When an inode is changed: what was told may be older than what was done since. */
export function changeTime({ isTold, now }: Context, { ctime }: { readonly ctime?: Time | undefined }): Time {
  return isTold === true ? laterOf(ctime, now) : now;
}
