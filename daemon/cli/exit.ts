import { FsError } from "../../proto/errno.js";
import { StartupError } from "../common/running.js";
import { visible } from "./visible.js";

/** Exit codes of every command. */
export const EXIT = { done: 0, failed: 1, misuse: 2, unreachable: 3, notAllowed: 4 } as const;

/** The command line asks for something that makes no sense. */
export class UsageError extends Error {
  override readonly name: string = "UsageError";
}

/** An option has a value that it cannot have. */
export class OptionError extends UsageError {
  override readonly name = "OptionError";
  constructor(
    readonly option: string,
    readonly value: string | number,
    /** What it can have. */
    readonly why: string,
  ) {
    super(`--${option} ${value}: ${why}`);
  }
}

/** What went wrong, in words that any terminal can show, with the way out when there is one. */
export function explain(error: unknown): string {
  return wordsOf(error).split("\n").map(visible).join("\n");
}

function wordsOf(error: unknown): string {
  if (error instanceof StartupError) return `${error.message}\n  ${error.hint}`;
  if (error instanceof FsError) return error.detail === "" ? error.errno : `${error.detail} (${error.errno})`;
  return error instanceof Error ? error.message : String(error);
}

export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return EXIT.misuse;
  const cause = error instanceof StartupError ? error.cause : error;
  const code = cause instanceof FsError ? cause.errno : (cause as NodeJS.ErrnoException | undefined)?.code;
  if (code === "EACCES" || code === "EPERM") return EXIT.notAllowed;
  return code === "ETIMEDOUT" || code === "ECONNREFUSED" ? EXIT.unreachable : EXIT.failed;
}
