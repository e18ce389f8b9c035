import { defineCommand } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { printJson } from "./json.js";

export const schema = defineCommand({
  command: "schema [words..]",
  describe: "the shape of what a command prints with --json, as JSON Schema",
  builder: (yargs) =>
    yargs
      .positional("words", { type: "string", array: true, default: [] as string[], describe: "the command" })
      .example("$0 schema", "the commands that print JSON")
      .example("$0 schema node ls", "what 'node ls --json' prints"),
  run: async (args) => {
    const [{ z }, { SCHEMAS }] = await Promise.all([import("zod"), import("../schemas.js")]);
    const wanted = args.words.join(" ");
    if (wanted === "") {
      process.stdout.write(`${Object.keys(SCHEMAS).join("\n")}\n`);
      return EXIT.done;
    }
    const found = Object.entries(SCHEMAS).find(([name]) => name === wanted);
    if (found === undefined) throw new UsageError(`'${wanted}' prints no JSON; 'bigfsd schema' lists what does`);
    printJson(z.toJSONSchema(found[1]));
    return EXIT.done;
  },
});
