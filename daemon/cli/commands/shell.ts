import type { ArgumentsCamelCase, Argv } from "yargs";
import { withCluster } from "../shared-options.js";

export const command = "shell";
export const describe = "use the files of a cluster from a prompt";

export function builder(yargs: Argv) {
  return withCluster(yargs)
    .example("$0 shell --data ./cluster", "with history and completion")
    .example(
      "$0 shell --data ./cluster < commands",
      "commands of a file; the exit code is that of the last that failed",
    );
}

type Args = ArgumentsCamelCase<Awaited<ReturnType<typeof builder>["argv"]>>;

export async function handler(args: Args): Promise<number> {
  const { runShell } = await import("../files/shell.js");
  return runShell(args, { input: process.stdin, output: process.stdout });
}
