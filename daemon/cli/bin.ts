#!/usr/bin/env node
import yargs, { type Argv } from "yargs";
import { hideBin } from "yargs/helpers";
import { printable } from "../../mount/files/path.js";
import { keepAlive } from "../common/clock.js";
import { type Command, type CommandModule, commandOf, withoutDoubleDash } from "./command.js";
import { EXIT, UsageError, exitCodeOf, explain } from "./exit.js";
import { endInOrder } from "./interrupt.js";
import { packageVersion } from "./version.js";

/** What is needed for each command is loaded for it alone; for the help, all of it. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  up: module(() => import("./commands/up.js")),
  down: module(() => import("./commands/down.js")),
  meta: module(() => import("./commands/meta.js")),
  store: module(() => import("./commands/store.js")),
  mount: module(() => import("./commands/mount.js")),
  umount: module(() => import("./commands/umount.js")),
  status: async () => (await import("./admin/status.js")).status,
  node: async () => (await import("./admin/node.js")).node,
  session: async () => (await import("./admin/session.js")).session,
  config: async () => (await import("./admin/config.js")).config,
  volume: async () => (await import("./admin/volume.js")).volume,
  key: async () => (await import("./admin/key.js")).key,
  doctor: async () => (await import("./commands/doctor.js")).doctor,
  debug: async () => (await import("./commands/debug.js")).debug,
  schema: async () => (await import("./admin/schema.js")).schema,
  ls: onFiles("ls"),
  tree: onFiles("tree"),
  stat: onFiles("stat"),
  info: onFiles("info"),
  du: onFiles("du"),
  cat: onFiles("cat"),
  put: onFiles("put"),
  get: onFiles("get"),
  mkdir: onFiles("mkdir"),
  mv: onFiles("mv"),
  rm: onFiles("rm"),
  shell: module(() => import("./commands/shell.js")),
  bench: module(() => import("./commands/bench.js")),
};

function module<A>(load: () => Promise<CommandModule<A>>): () => Promise<Command> {
  return async () => commandOf(await load());
}

function onFiles(name: string): () => Promise<Command> {
  return async () => {
    const [{ FILE_COMMANDS }, { ownSession }] = await Promise.all([
      import("./files/commands.js"),
      import("./files/session.js"),
    ]);
    const found = FILE_COMMANDS.find((command) => command.name === name);
    if (found === undefined) throw new Error(`no command ${name}`);
    return { addTo: (cli, end) => found.addTo(cli, ownSession(end)) };
  };
}

/** Runs a command and ends the process with its code. */
async function end(work: () => Promise<number>): Promise<void> {
  let code: number;
  keepAlive();
  try {
    code = await work();
  } catch (error) {
    process.stderr.write(`bigfsd: ${explain(error)}\n`);
    code = exitCodeOf(error);
  }
  // Output to a pipe may still be on its way.
  process.stdout.write("", (error) => process.exit(error ? outputFailed(error) : code));
}

let isOutputTold = false;

/** Who reads the output has had enough, or what it goes to is full, which is told once. Returns the exit code. */
function outputFailed(error: NodeJS.ErrnoException): number {
  if (error.code === "EPIPE") return EXIT.closed;
  if (!isOutputTold) process.stderr.write(`bigfsd: the output: ${explain(error)}\n`);
  isOutputTold = true;
  return EXIT.failed;
}

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  const code = outputFailed(error);
  if (!endInOrder(code)) process.exit(code);
});
process.stderr.on("error", () => {});

const args = hideBin(process.argv);
const [first = ""] = args;
const only = Object.hasOwn(COMMANDS, first) ? COMMANDS[first] : undefined;
const isCompletion = first === "--get-yargs-completions";
let cli: Argv = yargs(isCompletion ? args : withoutDoubleDash(args))
  .scriptName("bigfsd")
  .usage("$0 COMMAND: a distributed filesystem that mounts as a local folder");
for (const load of only === undefined ? Object.values(COMMANDS) : [only]) cli = (await load()).addTo(cli, end);
await cli
  .completion("completion", "print a script that completes commands in bash and zsh")
  .demandCommand(1, "give a command")
  .strict()
  .strictCommands()
  .wrap(Math.min(120, process.stdout.columns ?? 100))
  .version(packageVersion())
  .fail((message: string | null, error: Error | undefined) => {
    // yargs gives either a message (misuse) or an error that a builder threw.
    if (error !== undefined && !(error instanceof UsageError) && message === null) throw error;
    const help = `bigfsd ${only === undefined ? "" : `${first} `}--help`;
    process.stderr.write(`bigfsd: ${printable(message ?? error?.message ?? "")}\nTry '${help}'.\n`);
    process.exit(EXIT.misuse);
  })
  .parseAsync();
