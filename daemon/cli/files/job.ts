import type { ArgumentsCamelCase, Argv } from "yargs";
import type { Files } from "../../../mount/files/files.js";
import type { Path } from "../../../mount/files/path.js";
import { errnoOf } from "../../../proto/errno.js";
import { EXIT, explain } from "../exit.js";
import type { ClusterAddress } from "../shared-options.js";

/** What a command on the files of a cluster works with. */
export interface FilesJob {
  readonly files: Files;
  readonly cluster: ClusterAddress;
  /** Aborted by Ctrl-C: what was begun is to be cleaned up. */
  readonly signal: AbortSignal;
  /** The path that somebody has written. EINVAL and ENAMETOOLONG for what cannot be one. */
  readonly path: (text: string) => Path;
}

/** How a command gets its job: from a session of its own, or from the shell that it is typed into. */
export interface JobSource {
  /** Options that every command has there. */
  options<T>(yargs: Argv<T>): Argv<T>;
  /** An example as it is typed there. */
  example(text: string): string;
  /** Runs the work, which returns an exit code. `writes`: not only reading. */
  run(args: object, work: (job: FilesJob) => Promise<number>, opts: { readonly writes: boolean }): Promise<void>;
}

/** A command that can be given to `bigfsd` and in its shell. */
export interface FilesCommand {
  readonly name: string;
  addTo(yargs: Argv, source: JobSource): Argv;
}

export function filesCommand<A>(parts: {
  readonly command: string;
  readonly describe: string;
  /** Each with what it does; without what only `bigfsd` itself needs. */
  readonly examples?: readonly (readonly [string, string])[];
  readonly writes?: boolean;
  builder(yargs: Argv): Argv<A>;
  /** Returns the exit code. */
  run(job: FilesJob, args: ArgumentsCamelCase<A>): Promise<number>;
}): FilesCommand {
  const { command, describe, writes = false } = parts;
  const [name = ""] = command.split(" ");
  return {
    name,
    addTo: (yargs, source) =>
      yargs.command(
        command,
        describe,
        (own) => {
          const examples = parts.examples?.map(([text, what]): [string, string] => [source.example(text), what]) ?? [];
          return source.options(parts.builder(own)).example(examples);
        },
        (args) => source.run(args, (job) => parts.run(job, args), { writes }),
      ),
  };
}

/** Arguments of which the last says where to. */
export function severalPaths(yargs: Argv, usage: string) {
  return yargs
    .positional("paths", { type: "string", array: true, demandOption: true, describe: usage })
    .check(({ paths }) => (paths.length > 1 ? true : `what, and where to? give ${usage}`));
}

/** Tells what went wrong with one of several files; a line of progress may be there. */
export function complain(path: string, error: unknown): void {
  const why = explain(error);
  const line = `bigfsd: ${why.startsWith(path) ? why : `${path}: ${why}`}\n`;
  process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${line}` : line);
}

/**
 * Does the same with each path, and goes on after what fails. Returns the exit code. `json`: of each path a line says
 * how many things failed.
 */
export async function forEach<P>(
  paths: readonly P[],
  shown: (path: P) => string,
  work: (path: P) => Promise<number | void>,
  { json = false } = {},
): Promise<number> {
  let all = 0;
  for (const path of paths) {
    let failures: number;
    try {
      failures = (await work(path)) ?? 0;
    } catch (error) {
      if (errnoOf(error) === "EINTR") throw error;
      failures = 1;
      complain(shown(path), error);
    }
    all += failures;
    if (json) process.stdout.write(`${JSON.stringify({ path: shown(path), failures })}\n`);
  }
  return all === 0 ? EXIT.done : EXIT.failed;
}

/** The option of commands that do something with each path. */
export const JSON_OPTION = {
  type: "boolean",
  default: false,
  describe: "one JSON object a line, for programs",
} as const;
