import { loadAddon } from "../../mount/kernel/addon.js";
import { estateSchema, type Bequest, type Estate, type Keeper } from "../../mount/estate.js";
import { FsError } from "../../proto/errno.js";
import { SUPERVISED_ENV } from "./spawn.js";

/** Where such a process sends its descriptor of /dev/fuse, and where it has that of the one before. */
export const KEEPER_FD = 5;
export const DEVICE_FD = 6;

/** What it tells over its channel. `device`: the descriptor has been sent. */
export type Told = Bequest & { readonly device?: true };

/**
 * The supervisor of this mount process, if it has one. When that dies, this process ends in order: nobody would know of
 * it any more, nor start another one after it.
 */
export function supervisor(): Keeper | undefined {
  const left = process.env[SUPERVISED_ENV];
  if (left === undefined || process.send === undefined) return undefined;
  const tell = (told: Told): void => {
    // Whoever does not hear has died.
    if (process.connected) process.send?.(told, undefined, undefined, () => undefined);
  };
  process.once("disconnect", () => process.kill(process.pid, "SIGTERM"));
  process.channel?.unref();
  return {
    estate: left === "" ? undefined : { ...parsed(left), fd: DEVICE_FD },
    tell,
    keep(fd, kernel) {
      const sent = loadAddon().sendDescriptor(KEEPER_FD, fd);
      if (sent < 0) throw new FsError("EIO", `the supervisor does not take the descriptor (errno ${-sent})`);
      tell({ kernel, device: true });
    },
  };
}

function parsed(left: string): Estate {
  return estateSchema.parse(JSON.parse(left));
}
