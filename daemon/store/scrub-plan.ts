/** When which chunks are read again: pure, times are milliseconds of the wall clock. */

/** A folder is read again after this share of the period: what is left of it is for reading. */
const DUE_SHARE = 1 / 2;
/** At full speed everything is read within this share of the period. */
const READ_SHARE = 1 / 4;
/** While users' work is under way it takes so many times as long: still within the period. */
const YIELD = 2;
/** Bytes per second at full speed, also when fewer would do. */
const LEAST_RATE = 16 * 1024 * 1024;

/** What is known of each folder. */
export interface ScrubState {
  /** When the latest reading of all its chunks began. */
  readonly times: readonly number[];
  /** Everything that was read before this shall be read now. */
  readonly wanted: number;
}

/** The folder to be read next, of those that hold chunks; undefined: none is due. */
export function nextFolder(
  { times, wanted }: ScrubState,
  opts: { readonly holds: ReadonlySet<number>; readonly now: number; readonly periodMs: number },
): number | undefined {
  const oldest = oldestFolder(times, opts.holds);
  if (oldest === undefined) return undefined;
  const time = times[oldest] ?? 0;
  return time < wanted || opts.now - time >= opts.periodMs * DUE_SHARE ? oldest : undefined;
}

/** Of those that hold chunks the one that was not read for the longest time. */
export function oldestFolder(times: readonly number[], holds: ReadonlySet<number>): number | undefined {
  let oldest: number | undefined;
  for (const folder of holds) {
    if (oldest === undefined || (times[folder] ?? 0) < (times[oldest] ?? 0)) oldest = folder;
  }
  return oldest;
}

/** The pause after reading `bytes`, of `used` in all. */
export function pauseMs(
  bytes: number,
  opts: { readonly used: number; readonly periodMs: number; readonly isBusy: boolean },
): number {
  const perMs = Math.max(LEAST_RATE / 1000, opts.used / (opts.periodMs * READ_SHARE));
  return (bytes / perMs) * (opts.isBusy ? YIELD : 1);
}
