import { resolve } from "node:path";
import type { ArgumentsCamelCase, Argv } from "yargs";
import { EXIT } from "../exit.js";

export const command = "umount <mountpoint>";
export const describe = "unmount; everything written is stored when it returns";

export function builder(yargs: Argv) {
  return yargs
    .positional("mountpoint", { type: "string", demandOption: true, describe: "where a cluster is mounted" })
    .example("$0 umount /mnt/bigfs", "also frees a mount whose process has died");
}

type Args = ArgumentsCamelCase<Awaited<ReturnType<typeof builder>["argv"]>>;

export async function handler(args: Args): Promise<number> {
  const { unmountPath } = await import("../../../mount/kernel/unmount.js");
  await unmountPath(resolve(args.mountpoint));
  return EXIT.done;
}
