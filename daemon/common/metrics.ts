import { Counter, Histogram, Registry, collectDefaultMetrics } from "prom-client";
import type { Logger } from "pino";
import { errnoOf } from "../../proto/errno.js";
import type { Clock } from "./clock.js";

export { Counter, Gauge, Histogram, Registry } from "prom-client";

/** A registry for this process, with the process's own figures (memory, cpu, event-loop lag). */
export function processRegistry(): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: "bigfs_" });
  return registry;
}

/** Seconds; from a cached lookup to a write that waits for repair. */
const BUCKETS = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 60];

/** Milliseconds from which an operation is worth a log record. */
const SLOW_MS = 3_000;

/** Times the operations of one boundary: a histogram, a counter of errors by errno, a log record for slow ones. */
export class OperationTimes {
  readonly #seconds: Histogram<"op">;
  readonly #errors: Counter<"op" | "errno">;

  /** `part` as in bigfs_<part>_operation_seconds. */
  constructor(
    private readonly parts: { readonly clock: Clock; readonly log: Logger; readonly registry: Registry },
    private readonly part: string,
  ) {
    const registers = [parts.registry];
    this.#seconds = new Histogram({
      name: `bigfs_${part}_operation_seconds`,
      help: "Time to answer an operation",
      labelNames: ["op"],
      buckets: BUCKETS,
      registers,
    });
    this.#errors = new Counter({
      name: `bigfs_${part}_operation_errors_total`,
      help: "Operations that failed, by errno",
      labelNames: ["op", "errno"],
      registers,
    });
  }

  /** Notes one operation that has ended. */
  note(op: string, ms: number, errno: string | undefined): void {
    this.#seconds.observe({ op }, ms / 1000);
    if (errno !== undefined) this.#errors.inc({ op, errno });
    if (ms >= SLOW_MS) this.parts.log.warn({ part: this.part, op, ms: Math.round(ms), errno }, "slow operation");
  }

  /** Runs and notes one operation. */
  async timed<T>(op: string, run: () => Promise<T>): Promise<T> {
    const start = this.parts.clock.monotonicMs();
    try {
      const value = await run();
      this.note(op, this.parts.clock.monotonicMs() - start, undefined);
      return value;
    } catch (error) {
      this.note(op, this.parts.clock.monotonicMs() - start, errnoOf(error));
      throw error;
    }
  }
}
