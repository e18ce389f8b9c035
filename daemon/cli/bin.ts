#!/usr/bin/env node
import yargs from "yargs";
import { hideBin } from "yargs/helpers";
import * as cat from "./commands/cat.js";
import * as down from "./commands/down.js";
import * as get from "./commands/get.js";
import * as ls from "./commands/ls.js";
import * as meta from "./commands/meta.js";
import * as mkdir from "./commands/mkdir.js";
import * as mount from "./commands/mount.js";
import * as mv from "./commands/mv.js";
import * as node from "./commands/node.js";
import * as put from "./commands/put.js";
import * as rm from "./commands/rm.js";
import * as stat from "./commands/stat.js";
import * as status from "./commands/status.js";
import * as store from "./commands/store.js";
import * as umount from "./commands/umount.js";
import * as up from "./commands/up.js";
import { EXIT, UsageError, exitCodeOf, explain } from "./exit.js";
import { packageVersion } from "./version.js";

/** Runs a command and ends the process with its code. */
function run<A>(handler: (args: A) => Promise<number>): (args: A) => Promise<void> {
  return async (args) => {
    let code: number;
    try {
      code = await handler(args);
    } catch (error) {
      process.stderr.write(`bigfsd: ${explain(error)}\n`);
      code = exitCodeOf(error);
    }
    // Output to a pipe may still be on its way.
    process.stdout.write("", () => process.exit(code));
  };
}

await yargs(hideBin(process.argv))
  .scriptName("bigfsd")
  .usage("$0 COMMAND: a distributed filesystem that mounts as a local folder")
  .command(up.command, up.describe, up.builder, run(up.handler))
  .command(down.command, down.describe, down.builder, run(down.handler))
  .command(meta.command, meta.describe, meta.builder, run(meta.handler))
  .command(store.command, store.describe, store.builder, run(store.handler))
  .command(mount.command, mount.describe, mount.builder, run(mount.handler))
  .command(umount.command, umount.describe, umount.builder, run(umount.handler))
  .command(status.command, status.describe, status.builder, run(status.handler))
  .command(node.command, node.describe, node.builder, run(node.handler))
  .command(ls.command, ls.describe, ls.builder, run(ls.handler))
  .command(stat.command, stat.describe, stat.builder, run(stat.handler))
  .command(cat.command, cat.describe, cat.builder, run(cat.handler))
  .command(put.command, put.describe, put.builder, run(put.handler))
  .command(get.command, get.describe, get.builder, run(get.handler))
  .command(mkdir.command, mkdir.describe, mkdir.builder, run(mkdir.handler))
  .command(mv.command, mv.describe, mv.builder, run(mv.handler))
  .command(rm.command, rm.describe, rm.builder, run(rm.handler))
  .demandCommand(1, "give a command")
  .strict()
  .wrap(Math.min(120, process.stdout.columns ?? 100))
  .version(packageVersion())
  .fail((message, error, parser) => {
    // yargs gives either a message (misuse) or an error that a builder threw.
    if (error !== undefined && !(error instanceof UsageError) && message === undefined) throw error;
    process.stderr.write(
      `bigfsd: ${message ?? error.message}\nTry '${parser.help === undefined ? "bigfsd" : "bigfsd"} --help'.\n`,
    );
    process.exit(EXIT.misuse);
  })
  .parseAsync();
