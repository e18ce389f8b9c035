import type { Argv } from "yargs";
import type { TransferOptions } from "../../../mount/files/transfer.js";
import { type Clock, systemClock } from "../../common/clock.js";
import { formatSize } from "../../common/sizes.js";
import { EXIT } from "../exit.js";
import { clearStatus, hasStatusLine, showStatus } from "../status-line.js";
import { counted } from "./lines.js";

/** Options of commands that copy. */
export function copyingOptions<T>(yargs: Argv<T>) {
  return yargs
    .option("recursive", { alias: "r", type: "boolean", default: false, describe: "folders with all that is in them" })
    .option("preserve", {
      alias: "p",
      type: "boolean",
      default: false,
      describe: "times, mode and (for root) owner too",
    })
    .option("update", {
      alias: "u",
      type: "boolean",
      default: false,
      describe: "leave files that are there with the same size and are not older",
    })
    .option("json", { type: "boolean", default: false, describe: "at the end, what was copied, for programs" });
}

/** How often a terminal is told, and how often a log. */
const SHOWN_MS = 200;
const LOGGED_MS = 10_000;

/** What a file costs besides its bytes, as bytes: small ones take as long as that. */
const FILE_BYTES = 256 * 1024;

const BAR_WIDTH = 20;

export interface CopyOptions extends TransferOptions {
  readonly clock: Clock;
  /** Every file of one of the paths was found. */
  readonly listed: () => void;
  /** A file is done. */
  readonly done: (path: string) => void;
}

/** For a path that is one file: it is all that is found of it. */
export function ofOneFile(opts: CopyOptions): TransferOptions {
  return {
    ...opts,
    found: (bytes) => {
      opts.found(bytes);
      opts.listed();
    },
  };
}

/** How far a copy is. Rates are per second, `leftSec` undefined while it is not known how much there is. */
export class Progress {
  readonly #startMs: number;
  #lists: number;
  #foundFiles = 0;
  #foundBytes = 0;
  files = 0;
  bytes = 0;

  /** `paths`: how many are to be listed. */
  constructor(
    paths: number,
    private readonly clock: Pick<Clock, "monotonicMs">,
  ) {
    this.#lists = paths;
    this.#startMs = clock.monotonicMs();
  }

  get seconds(): number {
    return (this.clock.monotonicMs() - this.#startMs) / 1000;
  }

  found(bytes: number): void {
    this.#foundFiles++;
    this.#foundBytes += bytes;
  }

  listed(): void {
    this.#lists--;
  }

  /** What was done, and how fast. */
  sum(): string {
    const rate = Math.round(this.bytes / Math.max(this.seconds, 0.001));
    return `${counted(this.files, "file")}, ${formatSize(this.bytes)}, ${formatSize(rate)}/s`;
  }

  /** One line for a terminal. */
  line(): string {
    if (this.#lists > 0) return `${this.sum()}, looking for more`;
    const all = Math.max(1, this.#foundBytes + FILE_BYTES * this.#foundFiles);
    const part = Math.min(1, (this.bytes + FILE_BYTES * this.files) / all);
    const left = part === 0 ? "" : `, ${shownTime((this.seconds * (1 - part)) / part)} left`;
    const bar = "#".repeat(Math.floor(part * BAR_WIDTH)).padEnd(BAR_WIDTH, ".");
    return `[${bar}] ${Math.floor(part * 100)} %  ${this.sum()}${left}`;
  }
}

/** "0:07", "1:02:03" */
export function shownTime(seconds: number): string {
  const whole = Math.round(seconds);
  const two = (value: number): string => String(value).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/**
 * Runs a copy of so many paths and tells how far it is on standard error: on a terminal a line that is written over,
 * otherwise a line now and then, and at the end, in any case, what was copied and how fast. `work` returns an exit code.
 */
export async function withTransfer(
  args: { readonly preserve: boolean; readonly update: boolean; readonly json: boolean },
  { paths, signal }: { readonly paths: number; readonly signal: AbortSignal },
  work: (opts: CopyOptions) => Promise<number>,
): Promise<number> {
  const progress = new Progress(paths, systemClock);
  const everyMs = hasStatusLine() ? SHOWN_MS : LOGGED_MS;
  const show = (): void => {
    showStatus(progress.line());
    cancel = systemClock.after(everyMs, show);
  };
  let cancel = systemClock.after(everyMs, show);
  let code: number = EXIT.failed;
  try {
    code = await work({
      clock: systemClock,
      preserve: args.preserve,
      update: args.update,
      signal,
      found: (bytes) => progress.found(bytes),
      listed: () => progress.listed(),
      copied: (more) => (progress.bytes += more),
      done: () => progress.files++,
    });
    return code;
  } finally {
    cancel();
    clearStatus();
    const { files, bytes, seconds } = progress;
    if (args.json) process.stdout.write(`${JSON.stringify({ files, bytes, seconds, failed: code !== EXIT.done })}\n`);
    else process.stderr.write(`${progress.sum()}\n`);
  }
}
