/** How long single calls took, in milliseconds. */
export interface Latency {
  readonly mean: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

/**
 * Percentiles by the nearest-rank method: p95 is the smallest sample that at least 95 % of all do not exceed, so each is a
 * time that a call really took. Of no samples, all are 0.
 */
export function latencyOf(samples: Float64Array): Latency {
  const sorted = samples.toSorted();
  const rank = (percent: number): number => sorted[Math.max(0, Math.ceil((percent * sorted.length) / 100) - 1)] ?? 0;
  const sum = sorted.reduce((all, sample) => all + sample, 0);
  return {
    mean: sum / Math.max(1, sorted.length),
    p50: rank(50),
    p95: rank(95),
    p99: rank(99),
    max: sorted.at(-1) ?? 0,
  };
}
