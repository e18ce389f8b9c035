import type { FsError } from "../../proto/errno.js";
import { isEverywhere, isLoopback, parseAddress, parseListen } from "../common/address.js";
import { StartupError } from "../common/running.js";
import type { StoreOptions } from "./options.js";

/**
 * Others are told one address. StartupError when it is certain already here that they cannot reach this daemon by it;
 * the metadata daemon tries the rest.
 */
export function mustBeReachable(opts: Pick<StoreOptions, "listen" | "advertise" | "meta">): void {
  const { listen, advertise, meta } = opts;
  if (advertise !== undefined) {
    const { host, port } = advertised(advertise);
    if (isEverywhere(host) || port === 0) throw notReached(`--advertise ${advertise} is no address to reach it by`);
    return;
  }
  const { host } = parseListen(listen);
  if (isEverywhere(host)) {
    throw notReached(`${listen} is every address of this machine: others cannot reach a storage daemon by it`);
  }
  // Said with --advertise, it is meant: everything may run here and call this machine by its name.
  if (isLoopback(host) && !isLoopback(parseAddress(meta).host)) {
    throw notReached(`${listen} is reached on this machine only, and the metadata daemon ${meta} on others, too`);
  }
}

function advertised(text: string): { host: string; port: number } {
  try {
    return parseAddress(text);
  } catch (error) {
    throw notReached(`--advertise: ${(error as FsError).detail}`);
  }
}

function notReached(what: string): StartupError {
  return new StartupError(what, {
    hint: "say by which address the other machines do: --listen HOST:PORT, or --advertise HOST:PORT",
  });
}
