import type { Logger } from "pino";
import type { Clock } from "../daemon/common/clock.js";
import type { Deadlines } from "../daemon/common/deadlines.js";

export interface MountOptions {
  readonly mountpoint: string;
  /** HOST:PORT of the metadata daemon. */
  readonly meta: string;
  readonly key: Buffer;
  readonly readOnly: boolean;
  /** Other users of this machine may enter. */
  readonly allowOther: boolean;
  /** [HOST:]PORT for /metrics and /healthz. */
  readonly http?: string;
  /** Bytes of chunk data kept for reading; default 64 MiB. */
  readonly cacheBytes?: number;
  /** Bytes of written data that are not stored yet; writers wait beyond it; default 64 MiB. */
  readonly dirtyBytes?: number;
  /** Reads chunk files of storage daemons on this machine itself; default true. */
  readonly shortCircuit?: boolean;
  readonly deadlines: Deadlines;
  readonly log: Logger;
  readonly clock: Clock;
}
