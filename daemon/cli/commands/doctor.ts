import { resolve } from "node:path";
import { systemClock } from "../../common/clock.js";
import { printJson, withJson } from "../admin/json.js";
import { printableLine } from "../../../mount/files/path.js";
import { defineCommand } from "../command.js";
import { examine } from "../doctor/examine.js";
import type { Finding } from "../doctor/finding.js";
import { EXIT } from "../exit.js";
import { interruptible } from "../interrupt.js";

export const doctor = defineCommand({
  command: "doctor",
  describe: "look for what is wrong with this machine, its disks, or a cluster, and say how to fix it",
  builder: (yargs) =>
    withJson(yargs)
      .option("disk", {
        type: "string",
        array: true,
        default: [] as string[],
        requiresArg: true,
        describe: "also measure the disk of that folder",
      })
      .example("$0 doctor", "this machine alone: is it ready?")
      .example("$0 doctor --data ./cluster", "also what 'up' started, and its disks")
      .example("$0 doctor --meta 10.0.0.1:50052 --key cluster.key --disk /srv/disk1", "any cluster, and a disk here")
      .epilogue("Exit code 1 when something is an error. 'bigfsd schema doctor' has the shape of the JSON."),
  run: async (args) => {
    const data = args.data === undefined ? undefined : resolve(args.data);
    const disk = args.disk.map((folder) => resolve(folder));
    return interruptible(async (signal) => {
      const findings = await examine({ meta: args.meta, key: args.key, data, disk, signal }, systemClock);
      if (args.json) printJson({ findings });
      else process.stdout.write(renderFindings(findings));
      return findings.some(({ level }) => level === "error") ? EXIT.failed : EXIT.done;
    });
  },
});

export function renderFindings(findings: readonly Finding[]): string {
  const lines = ({ level, what, fix }: Finding) => [
    `${level.padEnd(7)}  ${what}`,
    ...(fix === undefined ? [] : [`${" ".repeat(9)}fix: ${fix}`]),
  ];
  return findings.flatMap((found) => lines(found).map((line) => `${printableLine(line)}\n`)).join("");
}
