import type { Time } from "../../../proto/gen/bigfs/v1/rows.js";
import { LIMITS } from "../../../proto/limits.js";
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

/**
 * When an inode is changed: what was told may be older than what was done since, or have been told by a clock that is a
 * little ahead.
 */
export function changeTime({ isTold, now }: Context, { ctime }: { readonly ctime?: Time | undefined }): Time {
  if (ctime === undefined) return now;
  return isTold === true || millisecondsOf(ctime) - millisecondsOf(now) <= LIMITS.clockSlackMs
    ? laterOf(ctime, now)
    : now;
}

function millisecondsOf({ sec, nsec }: Time): number {
  return sec * 1000 + nsec / 1e6;
}
