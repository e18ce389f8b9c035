import type { Logger } from "pino";
import type { Registry } from "prom-client";
import type { Clock } from "../daemon/common/clock.js";
import type { Deadlines } from "../daemon/common/deadlines.js";
import { grpc, type Network } from "../daemon/common/rpc/network.js";
import { noMeta } from "../daemon/common/rpc/no-meta.js";
import { FsError } from "../proto/errno.js";
import { connectMeta, type SessionRecord } from "./clients/meta-client.js";
import { StoreClients } from "./clients/store-clients.js";
import type { MetaClient } from "./vfs/ports.js";
import { Vfs } from "./vfs/vfs.js";

const CACHE_BYTES = 64 * 1024 * 1024;
const DIRTY_BYTES = 64 * 1024 * 1024;
const IDLE_INODES = 20_000;

export interface ClientOptions {
  /** HOST:PORT of the metadata daemon. */
  readonly meta: string;
  readonly key: Buffer;
  /** For people: who this is. */
  readonly name: string;
  readonly permissions: "kernel" | "rules";
  readonly readOnly: boolean;
  /** Bytes of chunk data kept for reading; default 64 MiB. */
  readonly cacheBytes?: number;
  /** Bytes of written data that are not stored yet; writers wait beyond it; default 64 MiB. */
  readonly dirtyBytes?: number;
  /** Reads chunk files of storage daemons on this machine itself; default true. */
  readonly shortCircuit?: boolean;
  /** Storage daemons of this zone are asked first; default: the host's name. */
  readonly zone?: string;
  readonly deadlines: Deadlines;
  readonly log: Logger;
  readonly clock: Clock;
  readonly registry: Registry;
  /** Goes on with what a process had that died. */
  readonly inherits?: {
    readonly generation: number;
    readonly session: SessionRecord;
    readonly locked: readonly number[];
  };
  /** Called with each session that begins. */
  readonly onSession?: (record: SessionRecord) => void;
  /** Default: gRPC. */
  readonly network?: Network;
  /** See VfsOptions. */
  readonly onLocked?: (ino: number, isLocked: boolean) => void;
}

/** Requests of a process in its session, at most. */
const REQUESTS_MAX = 2 ** 40;

/** A session with a cluster, as a filesystem. */
export interface Client {
  readonly fs: Vfs;
  readonly meta: MetaClient;
  /** What was answered must have been drained before. */
  stop(): Promise<void>;
}

/** StartupError when the metadata daemon cannot be reached, or has another key. */
export async function openClient(opts: ClientOptions): Promise<Client> {
  const { key, deadlines, clock, log, registry, readOnly, permissions, shortCircuit = true, network = grpc } = opts;
  const meta = await connect(opts);
  const { volume } = meta.volume;
  const zone = opts.zone === undefined ? {} : { zone: opts.zone };
  const chunks = new StoreClients({
    ...{ key, volume, clock, log, deadlines, shortCircuit, network, ...zone },
    map: () => meta.map,
  });
  const sizes = {
    idleInodes: IDLE_INODES,
    cacheBytes: opts.cacheBytes ?? CACHE_BYTES,
    dirtyBytes: opts.dirtyBytes ?? DIRTY_BYTES,
  };
  const inherited = opts.inherits && { locked: new Set(opts.inherits.locked) };
  const { onLocked } = opts;
  const fs = new Vfs(
    { meta, chunks, clock, log, registry },
    { ...sizes, readOnly, permissions, deadlines, inherited, onLocked },
  );
  const stop = async (): Promise<void> => {
    try {
      await chunks.stop();
    } finally {
      await meta.stop();
    }
  };
  return { fs, meta, stop };
}

async function connect(opts: ClientOptions): Promise<MetaClient> {
  const { meta: address, key, name, readOnly, deadlines, clock, log, inherits, onSession, network = grpc } = opts;
  const resume = inherits && { ...inherits.session, firstId: inherits.generation * REQUESTS_MAX };
  try {
    return await connectMeta({
      ...{ address, key, name, readOnly, deadlines, clock, log, network },
      ...(resume === undefined ? {} : { resume }),
      ...(onSession === undefined ? {} : { onSession }),
    });
  } catch (error) {
    throw error instanceof FsError ? noMeta(address, error) : error;
  }
}
