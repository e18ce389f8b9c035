import { mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { type Interface, createInterface } from "node:readline";
import yargs, { type Argv } from "yargs";
import { Files, isFolder } from "../../../mount/files/files.js";
import { parseLocal } from "../../../mount/files/local-path.js";
import { type Path, parsePath, shownName, shownPath } from "../../../mount/files/path.js";
import { FsError, errnoOf, fail } from "../../../proto/errno.js";
import { nameOf } from "../../../proto/name.js";
import { markWords, withWords } from "../arguments.js";
import { EXIT, UsageError, exitCodeOf, explain } from "../exit.js";
import { interruptible } from "../interrupt.js";
import { environment } from "../shared-options.js";
import { FILE_COMMANDS } from "./commands.js";
import { type FilesJob, type JobSource, filesCommand } from "./job.js";
import { type FilesArgs, openJob } from "./session.js";
import { typed, unfinished, wordsOf } from "./words.js";

const HISTORY_LINES = 1000;

export interface Terminal {
  readonly input: NodeJS.ReadStream;
  readonly output: NodeJS.WriteStream;
}

/**
 * Runs commands on the files of a cluster until there are no more. Returns the exit code of the last that failed. Ctrl-C
 * at a prompt ends the command that runs, otherwise, as SIGTERM and SIGHUP do, everything.
 */
export function runShell(args: FilesArgs, terminal: Terminal): Promise<number> {
  return interruptible(async (signal) => {
    const { job, stop } = await openJob(args, { signal, writes: true });
    try {
      return await runJob(job, terminal);
    } finally {
      await job.files.fs.drain().finally(stop);
    }
  });
}

async function runJob(job: FilesJob, { input, output }: Terminal): Promise<number> {
  const shell = new Shell(job);
  const isTerminal = input.isTTY && output.isTTY;
  const history = isTerminal ? await readHistory() : [];
  const lines = createInterface({
    input,
    output: isTerminal ? output : undefined,
    terminal: isTerminal,
    history,
    historySize: HISTORY_LINES,
    removeHistoryDuplicates: true,
    completer: (line: string, tell: (error: null, result: [string[], string]) => void) => {
      shell.complete(line).then(
        (found) => tell(null, found),
        () => tell(null, [[], ""]),
      );
    },
  });
  lines.on("history", (all: string[]) => void writeHistory(all).catch(() => {}));
  lines.on("SIGINT", () => {
    shell.interrupt();
    // What was typed is dropped, also after the cursor.
    if (lines.line === "") return;
    lines.write(null, { ctrl: true, name: "e" });
    lines.write(null, { ctrl: true, name: "u" });
  });
  const end = (): void => {
    shell.isOver = true;
    shell.interrupt();
    lines.close();
  };
  job.signal.addEventListener("abort", end);
  try {
    return await runLines(shell, lines, isTerminal);
  } finally {
    job.signal.removeEventListener("abort", end);
    lines.close();
  }
}

async function runLines(shell: Shell, lines: Interface, isTerminal: boolean): Promise<number> {
  let code: number = EXIT.done;
  const prompt = (): void => {
    if (!isTerminal) return;
    lines.setPrompt(`bigfs:${shownPath(shell.cwd)}> `);
    lines.prompt();
  };
  prompt();
  for await (const line of lines) {
    if (shell.isOver) break;
    const result = await shell.run(line);
    if (result !== EXIT.done) code = result;
    if (shell.isOver) return code;
    prompt();
  }
  // Ctrl-D leaves the cursor behind the prompt.
  if (isTerminal) process.stdout.write("\n");
  return code;
}

/** One session, and the folder that its paths begin in. */
export class Shell {
  cwd: Path = [];
  isOver = false;
  #running: AbortController | undefined;

  constructor(private readonly job: FilesJob) {}

  /** Runs one line; returns its exit code. What goes wrong is told. */
  async run(line: string): Promise<number> {
    try {
      const words = wordsOf(line);
      if (words.length === 0 || words[0]?.startsWith("#") === true) return EXIT.done;
      if (words[0] !== undefined && !NAMES.includes(words[0]))
        throw new UsageError(`there is no '${words[0]}': try help`);
      return await this.#run(words);
    } catch (error) {
      if (errnoOf(error) === "EINTR") return EXIT.failed;
      process.stderr.write(`bigfsd: ${explain(error)}\n`);
      return error instanceof RangeError ? EXIT.misuse : exitCodeOf(error);
    }
  }

  /** Ends the command that runs. False: none does. */
  interrupt(): boolean {
    this.#running?.abort(new FsError("EINTR", "interrupted"));
    return this.#running !== undefined;
  }

  /** What the word at the end of the line may become. */
  async complete(line: string): Promise<[string[], string]> {
    const { before, last } = unfinished(line);
    const [command] = before;
    if (command === undefined) return [NAMES.filter((name) => name.startsWith(last)).map((name) => `${name} `), last];
    const isFirst = before.filter((word) => !word.startsWith("-")).length === 1;
    const isLocal = (command === "put" && isFirst) || (command === "get" && !isFirst);
    const at = last.lastIndexOf("/") + 1;
    const [folder, start] = [last.slice(0, at), last.slice(at)];
    const names = await (isLocal ? localNames(folder || ".") : this.#names(folder || "."));
    return [names.filter((name) => name.startsWith(start)).map((name) => typed(folder + name)), typed(last)];
  }

  async #run(words: readonly string[]): Promise<number> {
    let code: number = EXIT.done;
    const abort = (this.#running = new AbortController());
    // Permissions may have changed since the last command.
    const files = new Files(this.job.files.fs, this.job.files.who);
    const job: FilesJob = {
      ...this.job,
      files,
      signal: abort.signal,
      path: (text) => this.#path(text),
      local: (text) => parseLocal(text, true),
    };
    const source: JobSource = {
      options: (own) => own,
      example: (text) => text,
      run: async (_args, work) => {
        code = await work(job);
      },
    };
    let cli: Argv = yargs(markWords(words))
      .scriptName("")
      .usage("Commands of this prompt:")
      .exitProcess(false)
      .version(false)
      .wrap(Math.min(120, process.stdout.columns ?? 100))
      .strict()
      .fail((message: string | null, error: Error | undefined) => {
        throw error ?? new UsageError(message ?? "");
      });
    for (const command of [...FILE_COMMANDS, ...this.#ownCommands(() => cli)]) cli = command.addTo(cli, source);
    try {
      await withWords(cli).parseAsync();
      return code;
    } finally {
      this.#running = undefined;
    }
  }

  #ownCommands(cli: () => Argv) {
    return [
      filesCommand({
        command: "cd [path]",
        describe: "where paths begin that have no / in front",
        builder: (own) => own.positional("path", { type: "string", default: "/", describe: "a folder" }),
        run: async ({ files, path }, args) => {
          const to = path(args.path);
          if (!isFolder(await files.stat(to))) fail("ENOTDIR", `${shownPath(to)} is no folder`);
          this.cwd = withoutSteps(to);
          return EXIT.done;
        },
      }),
      filesCommand({
        command: "pwd",
        describe: "show that folder",
        builder: (own) => own,
        run: async () => {
          process.stdout.write(`${shownPath(this.cwd)}\n`);
          return Promise.resolve(EXIT.done);
        },
      }),
      filesCommand({
        command: "help",
        describe: "show the commands; COMMAND --help shows the options of one",
        builder: (own) => own,
        run: async () => {
          process.stdout.write(`${await cli().getHelp()}\n`);
          return EXIT.done;
        },
      }),
      filesCommand({
        command: "exit",
        describe: "end",
        builder: (own) => own,
        run: async () => {
          this.isOver = true;
          return Promise.resolve(EXIT.done);
        },
      }),
    ];
  }

  #path(text: string): Path {
    const path = parsePath(text, true);
    return text.startsWith("/") ? path : [...this.cwd, ...path];
  }

  async #names(folder: string): Promise<string[]> {
    const { files } = this.job;
    const { ino } = await files.stat(this.#path(folder));
    const entries = await files.list(ino);
    return entries.map(({ name, node }) => `${shownName(name)}${isFolder(node) ? "/" : ""}`);
  }
}

/** Names for completion. */
const NAMES = [...FILE_COMMANDS.map(({ name }) => name), "cd", "pwd", "help", "exit"].sort();

/** The same folder for one who sees no symbolic links: as a shell shows it. */
function withoutSteps(path: Path): Path {
  const steps: Path[number][] = [];
  for (const step of path) {
    if (step === "..") steps.pop();
    else steps.push(step);
  }
  return steps;
}

async function localNames(folder: string): Promise<string[]> {
  const path = parseLocal(folder, true);
  const entries = await readdir(path, { encoding: "buffer", withFileTypes: true });
  return entries.map((entry) => `${shownName(nameOf(entry.name))}${entry.isDirectory() ? "/" : ""}`);
}

function historyPath(): string {
  return join(environment("XDG_STATE_HOME") ?? join(homedir(), ".local", "state"), "bigfs", "shell-history");
}

/** The latest first. */
async function readHistory(): Promise<string[]> {
  const text = await readFile(historyPath(), "utf8").catch(() => "");
  return text.split("\n").filter((line) => line !== "");
}

async function writeHistory(lines: readonly string[]): Promise<void> {
  const path = historyPath();
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await writeFile(path, lines.join("\n"), { mode: 0o600 });
}
