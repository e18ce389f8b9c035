import { FsError } from "../../proto/errno.js";

/** As other programs end that were interrupted by these. */
const CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** Ends what is under way, so that it can clean up. */
let ending: ((code: number) => void) | undefined;

/** False: nothing is under way that would have to clean up. */
export function endInOrder(code: number): boolean {
  ending?.(code);
  return ending !== undefined;
}

/**
 * Runs work that the first Ctrl-C aborts (or SIGTERM, SIGHUP, or `endInOrder`), so that it can clean up; a second one ends
 * the process at once. Returns the exit code: of the work, or of the interruption.
 */
export async function interruptible(work: (signal: AbortSignal) => Promise<number>): Promise<number> {
  const abort = new AbortController();
  let code: number | undefined;
  ending = (own) => {
    code ??= own;
    abort.abort(new FsError("EINTR", "interrupted"));
  };
  const handlers = Object.entries(CODES).map(([name, own]) => {
    const handler = (): void => void endInOrder(own);
    process.once(name, handler);
    return { name, handler };
  });
  try {
    const result = await work(abort.signal);
    return code ?? result;
  } catch (error) {
    // What is under way fails in its own way when it is aborted.
    if (code === undefined) throw error;
    return code;
  } finally {
    ending = undefined;
    for (const { name, handler } of handlers) process.off(name, handler);
  }
}
