/**
 * The volume's age in seconds of service (VolumeRow.served_sec). Everything that must wait before it is deleted is dated
 * by it: wall clocks jump, and while no daemon serves, no client can keep what it uses alive.
 */
import type { Clock } from "../../common/clock.js";
import type { Executor } from "../executor.js";
import { key } from "../keys.js";
import { volumeOf } from "../rules/volume.js";
import type { Tx } from "../tx.js";

export class ServedTime {
  #countedMs: number | undefined;

  constructor(
    private readonly parts: { readonly executor: Executor; readonly clock: Clock },
    private readonly opts: { readonly periodMs: number },
  ) {}

  /** Service begins now. */
  begin(): void {
    this.#countedMs = this.parts.clock.monotonicMs();
  }

  /** Counts what has passed since the last call, at most two periods: during a stall nobody was served. */
  async advance(): Promise<void> {
    const nowMs = this.parts.clock.monotonicMs();
    const fromMs = Math.max(this.#countedMs ?? nowMs, nowMs - Math.max(2 * this.opts.periodMs, 1000));
    const sec = Math.floor((nowMs - fromMs) / 1000);
    if (sec === 0) return;
    this.#countedMs = fromMs + sec * 1000;
    const { batch } = await this.parts.executor.execute(0, (tx) => {
      const volume = volumeOf(tx);
      tx.put(key.volume, { ...volume, servedSec: volume.servedSec + sec });
    });
    await this.parts.executor.whenDurable(batch);
  }

  /**
   * What is dated with this or earlier is at least `ageMs` old. A date may be older than what it stands for by one
   * period and one second, so so much more must have passed.
   */
  before(tx: Tx, ageMs: number): number {
    return volumeOf(tx).servedSec - Math.ceil((ageMs + this.opts.periodMs) / 1000) - 1;
  }
}
