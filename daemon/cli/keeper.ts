import { once } from "node:events";
import { z } from "zod";
import { loadAddon } from "../../mount/kernel/addon.js";
import { estateSchema, type Bequest, type Estate, type Keeper } from "../../mount/estate.js";
import { FsError, fail } from "../../proto/errno.js";
import { SUPERVISED_ENV } from "./spawn.js";

/** Where such a process sends its descriptor of /dev/fuse, and where it has that of the one before. */
export const KEEPER_FD = 5;
export const DEVICE_FD = 6;

/** The first message to it; without an estate it is the first process. */
export interface Left {
  readonly estate?: Estate;
}

const left = z.tuple([z.strictObject({ estate: estateSchema.optional() })]).rest(z.unknown());

/** What it tells over its channel. `device`: the descriptor has been sent. */
export type Told = Bequest & { readonly device?: true };

/**
 * The supervisor of this mount process, if it has one. When that dies, this process ends in order: nobody would know of
 * it any more, nor start another one after it.
 */
export async function supervisor(): Promise<Keeper | undefined> {
  if (process.env[SUPERVISED_ENV] !== "1" || process.send === undefined) return undefined;
  process.once("disconnect", () => process.kill(process.pid, "SIGTERM"));
  const dead = once(process, "disconnect").then(() => fail("EIO", "the supervisor has died"));
  const [{ estate }] = left.parse(await Promise.race([once(process, "message"), dead]));
  const tell = (told: Told): void => {
    // Whoever does not hear has died.
    if (process.connected) process.send?.(told, undefined, undefined, () => undefined);
  };
  process.channel?.unref();
  return {
    estate: estate && { ...estate, fd: DEVICE_FD },
    tell,
    keep(fd, kernel) {
      const sent = loadAddon().sendDescriptor(KEEPER_FD, fd);
      if (sent < 0) throw new FsError("EIO", `the supervisor does not take the descriptor (errno ${-sent})`);
      tell({ kernel, device: true });
    },
  };
}
