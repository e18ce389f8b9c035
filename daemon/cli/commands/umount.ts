import { resolve } from "node:path";
import type { ArgumentsCamelCase, Argv } from "yargs";
import { printJson } from "../admin/json.js";
import { EXIT } from "../exit.js";

export const command = "umount <mountpoint>";
export const describe = "unmount; everything written is stored when it returns";

export function builder(yargs: Argv) {
  return yargs
    .positional("mountpoint", { type: "string", demandOption: true, describe: "where a cluster is mounted" })
    .option("json", { type: "boolean", default: false, describe: "for programs" })
    .example("$0 umount /mnt/bigfs", "also frees a mount whose process has died");
}

type Args = ArgumentsCamelCase<Awaited<ReturnType<typeof builder>["argv"]>>;

export async function handler(args: Args): Promise<number> {
  const { unmountPath } = await import("../../../mount/kernel/unmount.js");
  const mountpoint = resolve(args.mountpoint);
  await unmountPath(mountpoint);
  if (args.json) printJson({ mountpoint });
  return EXIT.done;
}
