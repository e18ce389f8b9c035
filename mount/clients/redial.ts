import type { Logger } from "pino";
import type { Cancel, Clock } from "../../daemon/common/clock.js";
import type { Deadlines } from "../../daemon/common/deadlines.js";
import type { FsError } from "../../proto/errno.js";

/** These pass by themselves; anything else (another key, volume or protocol) needs somebody to act. */
const PASSING: ReadonlySet<string> = new Set(["ECONNREFUSED", "ETIMEDOUT", "EIO"]);

/** When to try again to reach a daemon: after a pause that doubles, and starts anew with each success. */
export class Redial {
  #pauseMs: number;
  #lastFailure = "";
  #cancelTimer: Cancel = () => {};

  constructor(
    private readonly parts: { readonly clock: Clock; readonly log: Logger; readonly deadlines: Deadlines },
    private readonly address: string,
  ) {
    this.#pauseMs = parts.deadlines.reconnectMinMs;
  }

  later(reason: FsError, dial: () => void): void {
    const { clock, log, deadlines } = this.parts;
    if (!PASSING.has(reason.errno) && reason.message !== this.#lastFailure) {
      log.error({ err: reason, address: this.address }, "cannot reconnect");
    }
    this.#lastFailure = reason.message;
    this.#cancelTimer();
    this.#cancelTimer = clock.after(this.#pauseMs, dial);
    this.#pauseMs = Math.min(deadlines.reconnectMaxMs, this.#pauseMs * 2);
  }

  succeeded(): void {
    this.#pauseMs = this.parts.deadlines.reconnectMinMs;
    this.#lastFailure = "";
  }

  stop(): void {
    this.#cancelTimer();
  }
}
