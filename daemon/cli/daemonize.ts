import { execFile } from "node:child_process";
import { writeSync } from "node:fs";
import type { Logger } from "pino";
import { FsError } from "../../proto/errno.js";
import { StartupError, type Running } from "../common/running.js";
import { EXIT, UsageError, exitCodeOf, explain } from "./exit.js";
import { READY_ENV, READY_FD, type ReadyLine } from "./spawn.js";

/**
 * Runs a daemon in this process until it ends or is told to: SIGTERM and SIGINT stop it in order, a second one ends it
 * at once. Resolves to the exit code.
 */
export async function runDaemon(log: Logger, start: () => Promise<Running>): Promise<number> {
  // What daemons keep is everybody's files: for no other user of this machine to read.
  process.umask(0o077);
  const told = signalled();
  let running: Running;
  try {
    running = await start();
  } catch (error) {
    tellReady(readyError(error));
    // A mistake on the command line is for who typed it, not for the log.
    if (!(error instanceof UsageError)) log.fatal({ err: error }, "did not start");
    if (process.env[READY_ENV] === undefined) process.stderr.write(`bigfsd: ${explain(error)}\n`);
    return exitCodeOf(error);
  }
  const { listen, warning } = running;
  tellReady(warning === undefined ? { listen } : { listen, warning });
  if (warning !== undefined && process.env[READY_ENV] === undefined) process.stderr.write(`bigfsd: ${warning}\n`);
  tellSystemd(log);
  log.info({ listen, pid: process.pid }, "started");
  const why = await Promise.race([told, running.ended]);
  if (why instanceof Error) {
    log.fatal({ err: why }, "stopped by an error");
    if (why instanceof StartupError) process.stderr.write(`bigfsd: ${explain(why)}\n`);
    await running.stop().catch((error: unknown) => log.error({ err: error }, "did not stop cleanly"));
    return EXIT.failed;
  }
  try {
    await running.stop();
  } catch (error) {
    log.error({ err: error }, "did not stop cleanly");
    return EXIT.failed;
  }
  log.info("stopped");
  return EXIT.done;
}

/** Resolves at the first SIGTERM or SIGINT; the second one is left to the system, which ends the process. */
function signalled(): Promise<undefined> {
  return new Promise((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => resolve(undefined));
  });
}

function readyError(error: unknown): ReadyLine {
  const cause = error instanceof StartupError ? error.cause : error;
  return {
    error: error instanceof StartupError ? error.message : explain(error),
    hint: error instanceof StartupError ? error.hint : "see the log",
    errno: cause instanceof FsError ? cause.errno : "",
  };
}

function tellReady(line: ReadyLine): void {
  if (process.env[READY_ENV] === undefined) return;
  try {
    writeSync(READY_FD, `${JSON.stringify(line)}\n`);
  } catch (error) {
    // Whoever started this daemon has gone; the daemon goes on.
    if ((error as NodeJS.ErrnoException).code !== "EPIPE") throw error;
  }
}

/** A unit of Type=notify counts as started from now on, so that what comes after it finds the folder mounted, say. */
function tellSystemd(log: Logger): void {
  if ((process.env["NOTIFY_SOCKET"] ?? "") === "") return;
  execFile("systemd-notify", ["--ready"], (error) => {
    if (error !== null) log.error({ err: error }, "systemd was not told that this daemon has started");
  });
}
