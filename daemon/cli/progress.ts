import type { Argv } from "yargs";
import type { TransferOptions } from "../../mount/files/transfer.js";
import { systemClock } from "../common/clock.js";
import { formatSize } from "../common/sizes.js";

/** Options of commands that copy. */
export function withCopying<T>(yargs: Argv<T>) {
  return yargs
    .option("recursive", { alias: "r", type: "boolean", default: false, describe: "folders with all that is in them" })
    .option("preserve", {
      alias: "p",
      type: "boolean",
      default: false,
      describe: "times, mode and (for root) owner too",
    });
}

/** How often a terminal is told. */
const SHOWN_MS = 200;

export interface CopyOptions extends TransferOptions {
  /** A file is done. */
  readonly done: (path: string) => void;
}

/**
 * Runs a copy and tells how far it is on standard error: on a terminal a line that is written over, and at the end, in any
 * case, what was copied and how fast.
 */
export async function withTransfer(
  { preserve, signal }: Pick<TransferOptions, "preserve" | "signal">,
  work: (opts: CopyOptions) => Promise<number>,
): Promise<number> {
  const startMs = systemClock.monotonicMs();
  let bytes = 0;
  let files = 0;
  const isTerminal = process.stderr.isTTY;
  const line = (): string => {
    const seconds = (systemClock.monotonicMs() - startMs) / 1000;
    return `${files} files, ${formatSize(bytes)}, ${formatSize(Math.round(bytes / Math.max(seconds, 0.001)))}/s`;
  };
  let cancel = () => {};
  const show = (): void => {
    process.stderr.write(`\r\x1b[K${line()}`);
    cancel = systemClock.after(SHOWN_MS, show);
  };
  if (isTerminal) show();
  try {
    return await work({
      preserve,
      signal,
      copied: (more) => (bytes += more),
      done: () => files++,
    });
  } finally {
    cancel();
    process.stderr.write(`${isTerminal ? "\r\x1b[K" : ""}${line()}\n`);
  }
}
