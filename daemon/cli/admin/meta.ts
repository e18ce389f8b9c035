import * as daemon from "../commands/meta.js";
import { commandOf, type Command } from "../command.js";
import { dump, load, restore } from "./backup.js";

const run = commandOf({ ...daemon, command: "$0", describe: "run the daemon" });

/** The daemon, and what is done about its data. */
export const meta: Command = {
  addTo: (yargs, end) =>
    yargs.command(daemon.command, daemon.describe, (own) => {
      for (const command of [run, dump, load, restore]) command.addTo(own, end);
      return own;
    }),
};
