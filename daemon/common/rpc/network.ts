import { dial } from "./client.js";
import type { Link, StreamKind } from "./link.js";
import { RpcServer, type RpcServerOptions } from "./server.js";

/** The serving side of one address; see RpcServer. */
export interface Listener {
  handle<Req, Rep>(kind: StreamKind<Req, Rep>, accept: (link: Link<Rep, Req>) => void): void;
  listen(address: string): Promise<string>;
  stop(): Promise<void>;
}

/** How daemons and mounts reach each other. */
export interface Network {
  /** See dial() in client.ts. */
  readonly dial: typeof dial;
  readonly server: (opts: RpcServerOptions) => Listener;
}

/** Streams over gRPC. */
export const grpc: Network = { dial, server: (opts) => new RpcServer(opts) };
