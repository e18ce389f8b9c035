import type { Logger } from "pino";
import type { Clock } from "../common/clock.js";
import type { Deadlines } from "../common/deadlines.js";
import type { MetaStore } from "./metastore.js";

export interface MetaOptions {
  /** Data folder: meta.db and the lock file. */
  readonly data: string;
  /** HOST:PORT; port 0 takes a free one. */
  readonly listen: string;
  /** The cluster key, 32 bytes. */
  readonly key: Buffer;
  /** [HOST:]PORT for /metrics and /healthz. */
  readonly http?: string;
  /** What a new volume is like; ignored when the folder has one. */
  readonly create: { readonly chunkSize: number; readonly replicas: number; readonly minReplicas: number };
  readonly deadlines: Deadlines;
  readonly log: Logger;
  readonly clock: Clock;
  /** Instead of SQLite in `data`; for tests. */
  readonly store?: MetaStore;
  /** Snapshots of the metadata that storage nodes keep; 0, and undefined: none. */
  readonly backupKeep?: number;
  /** Memory for rows that are not in use; default 48 MiB (a small file's take about 3 KiB). */
  readonly cacheBytes?: number;
}
