import type { Logger } from "pino";
import { Counter, Gauge, type Registry } from "prom-client";
import type { Cancel, Clock } from "./clock.js";
import { systemRandom, type Random } from "./random.js";

export interface TaskParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly registry: Registry;
  /** For the jitter; default: the machine's. */
  readonly random?: Random;
}

export interface TaskOptions {
  /** Whole words with dashes; the label of its metrics. */
  readonly name: string;
  /** Pause between the end of one run and the start of the next. */
  readonly periodMs: number;
  /** The pause varies by up to this share of itself, either way; default 0.1. */
  readonly jitter?: number;
  /** One pass. Looks at the signal between steps and returns soon after it was aborted. */
  readonly run: (signal: AbortSignal) => Promise<void>;
}

/**
 * Work that goes on in the background.
 *
 * Invariants:
 * - At most one run at a time.
 * - At most one more is waiting for the running one; everybody who asked meanwhile gets that one, which starts after
 *   they asked.
 * - A run that fails is logged and counted, and the next comes after the usual pause.
 */
export class Task {
  readonly #metrics: Metrics;
  #abort = new AbortController();
  #isStarted = false;
  #cancelTimer: Cancel | undefined;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(
    private readonly parts: TaskParts,
    private readonly opts: TaskOptions,
  ) {
    this.#metrics = metricsOf(parts.registry);
  }

  get name(): string {
    return this.opts.name;
  }

  /** The first run comes after one period. */
  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    if (this.#abort.signal.aborted) this.#abort = new AbortController();
    if (this.#running === undefined) this.#schedule();
  }

  /** Aborts the running one and resolves when it has returned. */
  async stop(): Promise<void> {
    this.#isStarted = false;
    this.#cancelTimer?.();
    this.#abort.abort();
    await Promise.allSettled([this.#running, this.#next]);
  }

  /** A complete run that starts after this call, started or not; rejects with what it threw. */
  runOnce(): Promise<void> {
    if (this.#next !== undefined) return this.#next;
    if (this.#running === undefined) return this.#run();
    this.#next = this.#running
      .catch(() => {})
      .then(() => {
        this.#next = undefined;
        return this.#run();
      });
    return this.#next;
  }

  /** Like runOnce for who does not care when it is done; nothing when it is not started. */
  wake(): void {
    if (this.#isStarted) this.runOnce().catch(() => {});
  }

  #run(): Promise<void> {
    this.#cancelTimer?.();
    const signal = this.#abort.signal;
    if (signal.aborted) return Promise.reject(new Error(`task ${this.name} was stopped`));
    const run = this.#measured(signal).finally(() => {
      this.#running = undefined;
      if (this.#isStarted && this.#next === undefined) this.#schedule();
    });
    this.#running = run;
    return run;
  }

  async #measured(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.parts;
    try {
      await this.opts.run(signal);
      this.#metrics.success.set({ task: this.name }, clock.now().sec);
    } catch (error) {
      if (!signal.aborted) {
        this.#metrics.failures.inc({ task: this.name });
        log.error({ err: error, task: this.name }, "a background task failed and will be tried again");
      }
      throw error;
    }
  }

  #schedule(): void {
    const { periodMs, jitter = 0.1 } = this.opts;
    const { random = systemRandom } = this.parts;
    const ms = periodMs * (1 + jitter * (2 * random.fraction() - 1));
    this.#cancelTimer = this.parts.clock.after(ms, () => this.wake());
  }
}

interface Metrics {
  readonly success: Gauge;
  readonly failures: Counter;
}

/** The metrics of all tasks of one process. */
function metricsOf(registry: Registry): Metrics {
  const success = "bigfs_task_last_success_timestamp_seconds";
  const failures = "bigfs_task_failures_total";
  const registers = [registry];
  const labelNames = ["task"];
  return {
    success:
      (registry.getSingleMetric(success) as Gauge | undefined) ??
      new Gauge({ name: success, help: "When a background task last succeeded.", labelNames, registers }),
    failures:
      (registry.getSingleMetric(failures) as Counter | undefined) ??
      new Counter({ name: failures, help: "Runs of background tasks that failed.", labelNames, registers }),
  };
}
