import fc from "fast-check";
import { test } from "tap";
import { latencyOf } from "../../../daemon/cli/bench/latency.js";

test("a percentile is the smallest sample that so many of all do not exceed", async (t) => {
  const samples = Float64Array.from({ length: 1000 }, (_, i) => 1000 - i);
  t.same(latencyOf(samples), { mean: 500.5, p50: 500, p95: 950, p99: 990, max: 1000 });
  t.equal(samples[0], 1000, "the samples stay as they were");
  t.same(latencyOf(Float64Array.of(7)), { mean: 7, p50: 7, p95: 7, p99: 7, max: 7 });
  t.same(latencyOf(Float64Array.of(2, 1)), { mean: 1.5, p50: 1, p95: 2, p99: 2, max: 2 });
  t.same(latencyOf(new Float64Array()), { mean: 0, p50: 0, p95: 0, p99: 0, max: 0 });
});

test("percentiles of any samples", async () => {
  const sample = fc.double({ min: 0, max: 1e6, noNaN: true });
  fc.assert(
    fc.property(fc.array(sample, { minLength: 1, maxLength: 300 }), (samples) => {
      const latency = latencyOf(Float64Array.from(samples));
      const naive = (percent: number): number =>
        Math.min(...samples.filter((x) => 100 * samples.filter((y) => y <= x).length >= percent * samples.length));
      return (
        latency.p50 === naive(50) &&
        latency.p95 === naive(95) &&
        latency.p99 === naive(99) &&
        latency.max === Math.max(...samples)
      );
    }),
  );
});
