#!/usr/bin/env node
import yargs, { type Argv, type FallbackCompletionFunction } from "yargs";
import { hideBin } from "yargs/helpers";
import { keepAlive } from "../common/clock.js";
import { type Command, type CommandModule, commandOf } from "./command.js";
import { EXIT, UsageError, exitCodeOf, explain } from "./exit.js";
import { endInOrder } from "./interrupt.js";
import { packageVersion } from "./version.js";
import { markWords, withWords } from "./arguments.js";

/** What is needed for each command is loaded for it alone; for the help, all of it. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  up: module(() => import("./commands/up.js")),
  down: module(() => import("./commands/down.js")),
  meta: async () => (await import("./admin/meta.js")).meta,
  store: module(() => import("./commands/store.js")),
  mount: module(() => import("./commands/mount.js")),
  umount: module(() => import("./commands/umount.js")),
  status: async () => (await import("./admin/status.js")).status,
  node: async () => (await import("./admin/node.js")).node,
  replicas: async () => (await import("./admin/replicas.js")).replicas,
  session: async () => (await import("./admin/session.js")).session,
  config: async () => (await import("./admin/config.js")).config,
  volume: async () => (await import("./admin/volume.js")).volume,
  key: async () => (await import("./admin/key.js")).key,
  fsck: async () => (await import("./admin/fsck.js")).fsck,
  quarantine: async () => (await import("./admin/quarantine.js")).quarantine,
  gc: async () => (await import("./admin/gc.js")).gc,
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
/** Options only where one begins: elsewhere there may be a file, which the shell completes. */
const completed: FallbackCompletionFunction = (word, _args, usual, tell) => {
  usual((_error, found = []) => {
    tell(found.filter((one) => one.startsWith("-") === word.startsWith("-")));
  });
};

const args = hideBin(process.argv);
const [first = ""] = args;
const only = Object.hasOwn(COMMANDS, first) ? COMMANDS[first] : undefined;
let cli: Argv = yargs(markWords(args))
  .scriptName("bigfsd")
  // Half of the words would be in the user's language, and half not.
  .locale("en")
  .usage("$0 COMMAND: a distributed filesystem that mounts as a local folder");
for (const load of only === undefined ? Object.values(COMMANDS) : [only]) cli = (await load()).addTo(cli, end);
await withWords(cli)
  .completion("completion", "print a script that completes commands in bash and zsh", completed)
  .demandCommand(1, "give a command")
  .strict()
  .strictCommands()
  .example("$0 up --data ./cluster --mount ./mnt", "a whole cluster on this machine, mounted")
  .epilogue("Exit codes: 0 done, 1 failed, 2 misuse, 3 not reachable, 4 not allowed.")
  .wrap(Math.min(120, process.stdout.columns ?? 100))
  .version(packageVersion())
  .fail((message: string | null, error: Error | undefined) => {
    // yargs gives either a message (misuse) or an error that a builder threw.
    if (error !== undefined && !(error instanceof UsageError) && message === null) throw error;
    const help = only === undefined ? "bigfsd --help" : `bigfsd ${first} --help`;
    process.stderr.write(`bigfsd: ${explain(message ?? error)}\nTry '${help}'.\n`);
    process.exit(EXIT.misuse);
  })
  .parseAsync();
