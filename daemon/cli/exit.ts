import { getSystemErrorMap } from "node:util";
import { localPath, shownLocal } from "../../mount/files/local-path.js";
import { printable } from "../../mount/files/path.js";
import { ERRNO, FsError } from "../../proto/errno.js";
import { StartupError } from "../common/running.js";

/** Exit codes of every command; `closed`: nobody reads its output any more, as of programs that end by SIGPIPE. */
export const EXIT = { done: 0, failed: 1, misuse: 2, unreachable: 3, notAllowed: 4, closed: 141 } as const;

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
  return printable(inWords(error));
}

function inWords(error: unknown): string {
  if (error instanceof StartupError) return `${error.message}\n  ${error.hint}`;
  if (error instanceof FsError)
    return `${error.detail === "" ? wordsOf(ERRNO[error.errno]) : error.detail} (${error.errno})`;
  if (!(error instanceof Error)) return String(error);
  const { code, errno, path } = error as NodeJS.ErrnoException;
  if (code === undefined || errno === undefined || !error.message.startsWith(`${code}: `)) return error.message;
  return `${path === undefined ? "" : `${shownLocal(localPath(path))}: `}${wordsOf(errno)} (${code})`;
}

/** "no such file or directory" */
function wordsOf(errno: number): string {
  return getSystemErrorMap().get(-Math.abs(errno))?.[1] ?? "unknown error";
}

export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return EXIT.misuse;
  const cause = error instanceof StartupError ? error.cause : error;
  const code = cause instanceof FsError ? cause.errno : (cause as NodeJS.ErrnoException | undefined)?.code;
  if (code === "EACCES" || code === "EPERM") return EXIT.notAllowed;
  return code === "ETIMEDOUT" || code === "ECONNREFUSED" ? EXIT.unreachable : EXIT.failed;
}
