import { resolve } from "node:path";
import { createKey } from "../../common/key.js";
import { defineCommand } from "../command.js";
import { EXIT } from "../exit.js";
import { printJson } from "./json.js";

export const key = defineCommand({
  command: "key <file>",
  describe: "make a cluster key, which every daemon and client of a cluster needs",
  builder: (yargs) =>
    yargs
      .positional("file", { type: "string", demandOption: true, describe: "a new file; only its owner can read it" })
      .option("json", { type: "boolean", default: false, describe: "for programs" })
      .example("$0 key cluster.key", "then copy it to the other machines, for example with scp -p"),
  run: async (args) => {
    const file = resolve(args.file);
    await createKey(file, { mustBeNew: true });
    if (args.json) printJson({ file });
    return EXIT.done;
  },
});
