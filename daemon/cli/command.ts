import type { ArgumentsCamelCase, Argv } from "yargs";

/** Runs the work of a command and ends the process with the exit code that it returns. */
export type Ending = (work: () => Promise<number>) => Promise<void>;

export interface Command {
  addTo(yargs: Argv, end: Ending): Argv;
}

export function defineCommand<A>(parts: {
  readonly command: string;
  readonly describe: string;
  builder(yargs: Argv): Argv<A>;
  /** Returns the exit code. */
  run(args: ArgumentsCamelCase<A>): Promise<number>;
}): Command {
  return {
    addTo: (yargs, end) =>
      yargs.command(
        parts.command,
        parts.describe,
        (own) => parts.builder(own),
        (args) => end(() => parts.run(args)),
      ),
  };
}

/** A command in a module of its own. */
export interface CommandModule<A> {
  readonly command: string;
  readonly describe: string;
  builder(yargs: Argv): Argv<A>;
  /** Returns the exit code. */
  handler(args: ArgumentsCamelCase<A>): Promise<number>;
}

export function commandOf<A>(module: CommandModule<A>): Command {
  const { command, describe } = module;
  return defineCommand<A>({
    command,
    describe,
    builder: (own) => module.builder(own),
    run: (args) => module.handler(args),
  });
}

/** yargs gives a command nothing of what follows `--`: such words are given to it as paths. */
export function withoutDoubleDash(words: readonly string[]): string[] {
  const at = words.indexOf("--");
  if (at === -1) return [...words];
  return [...words.slice(0, at), ...words.slice(at + 1).map((word) => (word.startsWith("-") ? `./${word}` : word))];
}

/** Commands under a common word, as `node ls`. */
export function groupOf(name: string, describe: string, commands: readonly Command[]): Command {
  return {
    addTo: (yargs, end) =>
      yargs.command(name, describe, (own) => {
        for (const command of commands) command.addTo(own, end);
        return own.demandCommand(1, `say what: '${name} --help' lists what there is`);
      }),
  };
}
