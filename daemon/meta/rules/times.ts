import type { Time } from "../../../proto/gen/bigfs/v1/rows.js";

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
