import type { ArgumentsCamelCase, Argv } from "yargs";
import type { Files } from "../../../mount/files/files.js";
import type { LocalPath } from "../../../mount/files/local-path.js";
import { type Path, printable, shownName, shownPath } from "../../../mount/files/path.js";
import { FsError, fail } from "../../../proto/errno.js";
import type { Name } from "../../../proto/name.js";
import { EXIT, exitCodeOf, explain } from "../exit.js";
import type { ClusterAddress } from "../shared-options.js";
import { clearStatus } from "../status-line.js";

/** What a command on the files of a cluster works with. */
export interface FilesJob {
  readonly files: Files;
  readonly cluster: ClusterAddress;
  /** Aborted by Ctrl-C: what was begun is to be cleaned up. */
  readonly signal: AbortSignal;
  /** The path that somebody has written. EINVAL and ENAMETOOLONG for what cannot be one. */
  readonly path: (text: string) => Path;
  /** The same for an absolute path of this machine. */
  readonly local: (text: string) => LocalPath;
}

/** Hears of each thing that could not be done, and where. */
export type Failed = (path: string, error: unknown) => void;

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

/** Tells what went wrong with one of several files. */
function complain(path: string, error: unknown): void {
  const why = explain(error);
  clearStatus();
  process.stderr.write(`bigfsd: ${why.startsWith(path) ? why : `${path}: ${why}`}\n`);
}

/** For copies: the path, and on which side something is wrong with it where the error itself does not say. */
function withSide(path: string, error: unknown): string {
  if (error instanceof FsError) return error.detail === "" ? `${path}, in the cluster` : path;
  return (error as NodeJS.ErrnoException).path === undefined ? `${path}, on this machine` : path;
}

/**
 * Does the same with each of several things, and goes on after what fails, which is told. Returns the exit code: that of
 * the failures if they all have the same one. `json`: of each thing a line says how many failures there were; `sides`:
 * there are files of the cluster and of this machine.
 */
export async function forEach<T>(
  { signal }: Pick<FilesJob, "signal">,
  things: readonly T[],
  shown: (thing: T) => string,
  work: (thing: T, failed: Failed) => Promise<unknown>,
  { json = false, sides = false } = {},
): Promise<number> {
  const codes = new Set<number>();
  for (const thing of things) {
    let failures = 0;
    const failed: Failed = (path, error) => {
      failures++;
      codes.add(exitCodeOf(error));
      complain(sides ? withSide(path, error) : path, error);
    };
    try {
      await work(thing, failed);
    } catch (error) {
      if (!signal.aborted) failed(shown(thing), error);
    }
    signal.throwIfAborted();
    if (json) process.stdout.write(`${JSON.stringify({ path: shown(thing), failures })}\n`);
  }
  const [code = EXIT.done] = codes;
  return codes.size > 1 ? EXIT.failed : code;
}

/** The same with paths of the cluster, as they were written. */
export function forEachPath(
  job: Pick<FilesJob, "signal" | "path">,
  texts: readonly string[],
  work: (path: Path, failed: Failed, text: string) => Promise<unknown>,
  opts: { readonly json?: boolean } = {},
): Promise<number> {
  const shown = (text: string): string => {
    try {
      return shownPath(job.path(text));
    } catch {
      return printable(text);
    }
  };
  return forEach(job, texts, shown, (text, failed) => work(job.path(text), failed, text), opts);
}

/** Refuses a name that comes a second time: of two files that go to one place the first would be lost. */
export function eachOnce(): (name: Name) => void {
  const seen = new Set<Name>();
  return (name) => {
    if (seen.has(name)) fail("EEXIST", `another of these is called ${shownName(name)}: it was not replaced`);
    seen.add(name);
  };
}

/** The option of commands that do something with each path. */
export const JSON_OPTION = {
  type: "boolean",
  default: false,
  describe: "one JSON object a line, for programs",
} as const;
