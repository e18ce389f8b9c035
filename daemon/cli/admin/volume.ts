import { resolve } from "node:path";
import { systemClock } from "../../common/clock.js";
import { createLog } from "../../common/log.js";
import { volumeShape, withShape } from "../commands/meta.js";
import { defineCommand, groupOf } from "../command.js";
import { EXIT } from "../exit.js";
import { printJson } from "./json.js";

const create = defineCommand({
  command: "create",
  describe: "make an empty volume in a data folder, to be served by 'bigfsd meta'",
  builder: (yargs) =>
    withShape(yargs)
      .option("data", {
        type: "string",
        demandOption: true,
        describe: "folder of the metadata, which has no volume yet",
      })
      .option("json", { type: "boolean", default: false, describe: "for programs" })
      .example("$0 volume create --data /srv/bigfs/meta --replicas 3 --min-replicas 2", "three copies, two at once"),
  run: async (args) => {
    const { createVolumeIn } = await import("../../meta/volume-folder.js");
    const made = await createVolumeIn(resolve(args.data), volumeShape(args), {
      clock: systemClock,
      log: createLog("meta", "silent"),
    });
    if (args.json) printJson(made);
    else process.stdout.write(`${made.volume}\n`);
    return EXIT.done;
  },
});

export const volume = groupOf(
  "volume",
  "volumes",
  [create],
  ["$0 volume create --data /srv/bigfs/meta", "two copies of everything"],
);
