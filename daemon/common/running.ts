/** A daemon (or mount) that has started. */
export interface Running {
  /** Where it listens, HOST:PORT with the real port; for a mount, the mount point. */
  readonly listen: string;
  /** For whoever started it: it runs, but not as it should. */
  readonly warning?: string | undefined;
  /** Resolves when it has ended by itself: undefined in good order, otherwise why it had to stop. */
  readonly ended: Promise<Error | undefined>;
  /** Ends it in order; resolves when everything that was acknowledged is safe and every port and file is closed. */
  stop(): Promise<void>;
}

/** Why a daemon does not start: what is wrong and where, and the way out. */
export class StartupError extends Error {
  override readonly name = "StartupError";
  readonly hint: string;
  constructor(message: string, options: { hint: string; cause?: unknown }) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.hint = options.hint;
  }
}
