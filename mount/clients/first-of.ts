import type { Cancel, Clock } from "../../daemon/common/clock.js";

/**
 * The first success. Candidates are tried in order: the next one at once when one fails, and beside it when it has not
 * answered within `hedgeMs`. Rejects with every failure, in order of the candidates, when all have failed. An attempt
 * that is overtaken goes on to its own end: what comes of it says something about that candidate.
 */
export function firstOf<C, T>(
  candidates: readonly C[],
  attempt: (candidate: C) => Promise<T>,
  opts: { readonly hedgeMs: number; readonly clock: Clock },
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const failures: unknown[] = [];
    let next = 0;
    let failed = 0;
    let isOver = false;
    let cancelHedge: Cancel = () => {};
    const launch = () => {
      cancelHedge();
      const index = next++;
      const candidate = candidates[index];
      if (isOver || candidate === undefined) return;
      if (next < candidates.length) cancelHedge = opts.clock.after(opts.hedgeMs, launch);
      attempt(candidate).then(
        (value) => {
          isOver = true;
          cancelHedge();
          resolve(value);
        },
        (error: unknown) => {
          failures[index] = error;
          failed++;
          if (failed === candidates.length) reject(new AllFailed(failures));
          else launch();
        },
      );
    };
    if (candidates.length === 0) reject(new AllFailed([]));
    else launch();
  });
}

/** Why none of the candidates could do it. */
export class AllFailed extends Error {
  override readonly name = "AllFailed";
  constructor(readonly failures: readonly unknown[]) {
    super(failures.length === 0 ? "nobody to ask" : failures.map(String).join("; "));
  }
}
