import type { Deadlines } from "../../daemon/common/deadlines.js";

/** What takes minutes takes seconds. */
const SHORT: Partial<Deadlines> = {
  cleanMs: 200,
  leaseMs: 2_000,
  renewMs: 500,
  leaseMarginMs: 500,
  deleteDelayMs: 4_000,
  orphanGraceMs: 1_000,
  heartbeatMs: 500,
  confirmMs: 2_000,
  syncMs: 100,
};

/** Options of `up`, a daemon or a mount for these intervals. */
export function deadlineOptions(intervals: Partial<Deadlines>): string[] {
  return Object.entries(intervals).flatMap(([name, ms]) => ["--deadline", `${name}=${ms}`]);
}

/** The same for intervals that a test does not have to wait for long, but for those that it changes. */
export function shortDeadlines(changes: Partial<Deadlines> = {}): string[] {
  return deadlineOptions({ ...SHORT, ...changes });
}
