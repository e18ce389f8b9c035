import type { Cancel, Clock } from "../../daemon/common/clock.js";
import { FsError } from "../../proto/errno.js";

/**
 * The first success. Candidates are tried in order: the next one at once when one fails, and beside it when it has not
 * answered within `hedgeMs`. Rejects with every failure, in order of the candidates, when all have failed, and with EINTR
 * when aborted. `attempt` gets a signal that ends when nobody waits for it any more.
 */
export async function firstOf<C, T>(
  candidates: readonly C[],
  attempt: (candidate: C, signal: AbortSignal) => Promise<T>,
  opts: { readonly hedgeMs: number; readonly clock: Clock; readonly signal?: AbortSignal },
): Promise<T> {
  const over = new AbortController();
  const failures: unknown[] = [];
  let cancelHedge: Cancel = () => {};
  let abort = (): void => {};
  try {
    return await new Promise<T>((resolve, reject) => {
      let next = 0;
      let failed = 0;
      const launch = () => {
        cancelHedge();
        const index = next++;
        const candidate = candidates[index];
        if (candidate === undefined) return;
        if (next < candidates.length) cancelHedge = opts.clock.after(opts.hedgeMs, launch);
        attempt(candidate, over.signal).then(resolve, (error: unknown) => {
          failures[index] = error;
          failed++;
          if (failed === candidates.length) reject(new AllFailed(failures));
          else launch();
        });
      };
      abort = () => reject(new FsError("EINTR"));
      opts.signal?.addEventListener("abort", abort, { once: true });
      if (opts.signal?.aborted === true) abort();
      else if (candidates.length === 0) reject(new AllFailed([]));
      else launch();
    });
  } finally {
    cancelHedge();
    opts.signal?.removeEventListener("abort", abort);
    over.abort(OVER);
  }
}

/** Why an attempt is of no use any more; made once, because each reason of its own would be an error with a stack. */
const OVER = new FsError("EINTR", "nobody waits for it any more");

/** Why none of the candidates could do it. */
export class AllFailed extends Error {
  override readonly name = "AllFailed";
  constructor(readonly failures: readonly unknown[]) {
    super(failures.length === 0 ? "nobody to ask" : failures.map(String).join("; "));
  }
}
