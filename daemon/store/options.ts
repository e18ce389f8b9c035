import type { Logger } from "pino";
import type { Clock } from "../common/clock.js";
import type { Registry } from "../common/metrics.js";
import type { Random } from "../common/random.js";
import type { Network } from "../common/rpc/network.js";
import type { Disk } from "./disk.js";
import type { DataFolder } from "./identity.js";
import type { loadOf } from "./load.js";
import type { Deadlines } from "../common/deadlines.js";

export interface StoreOptions {
  /** Data folder: identity.json, the lock file, chunks/, quarantine/. Of several each is a node of its own. */
  readonly data: string | readonly string[];
  /** A folder that is empty is meant to be so, although there was a node in it before. */
  readonly replaced?: boolean;
  /** HOST:PORT of the metadata daemon. */
  readonly meta: string;
  /** HOST:PORT; port 0 takes a free one. */
  readonly listen: string;
  /** HOST:PORT that others reach it by; default: where it listens. */
  readonly advertise?: string;
  readonly key: Buffer;
  /** [HOST:]PORT for /metrics and /healthz. */
  readonly http?: string;
  /** Default: the host's name. */
  readonly zone?: string;
  /** For people; default HOST:PORT. */
  readonly name?: string;
  /** Bytes that chunks may take; default: what the disk has. */
  readonly capacity?: number;
  /** Bytes of the disk that stay free; default 64 MiB. */
  readonly reserve?: number;
  /** Default: the machine's. */
  readonly disk?: Disk;
  readonly deadlines: Deadlines;
  readonly log: Logger;
  readonly clock: Clock;
}

/** What the daemon stands on: a machine, or a simulated one. */
export interface StoreParts {
  /** Opens a data folder that nobody else uses; the daemon closes it. */
  readonly openFolder: (data: string) => Promise<DataFolder>;
  readonly disk: Disk;
  readonly registry: Registry;
  readonly network: Network;
  readonly random: Random;
  readonly load: typeof loadOf;
}
