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

/** Commands under a common word, as `node ls`. `example`: one of them, and what it does. */
export function groupOf(
  name: string,
  describe: string,
  commands: readonly Command[],
  example: readonly [string, string],
): Command {
  return {
    addTo: (yargs, end) =>
      yargs.command(name, describe, (own) => {
        for (const command of commands) command.addTo(own, end);
        return own.example(...example).demandCommand(1, `say what: '${name} --help' lists what there is`);
      }),
  };
}
