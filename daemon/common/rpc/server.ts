import { once } from "node:events";
import type { Http2Server } from "node:http2";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { ServerCredentials, type Server, type ServerDuplexStream } from "@grpc/grpc-js";
import type { Logger } from "pino";
import { FsError, errnoOf } from "../../../proto/errno.js";
import { formatAddress, parseAddress } from "../address.js";
import type { Clock } from "../clock.js";
import { StartupError } from "../running.js";
import { welcome } from "./handshake.js";
import type { Link, StreamKind } from "./link.js";
import { toStatus } from "./status.js";
import { StreamLink } from "./stream-link.js";
import { createServer } from "./transport.js";

export interface RpcServerOptions {
  /** The cluster key. */
  readonly key: Buffer;
  readonly log: Logger;
  readonly clock: Clock;
  /** Asked for every stream; the uuid is empty as long as the daemon belongs to no volume. */
  readonly volume: () => { uuid: string; incarnation: number };
  /** A stream that has not proved the key by then is ended; default 5,000 ms. */
  readonly handshakeMs?: number;
}

type ServerStream = ServerDuplexStream<Buffer, Buffer>;

/**
 * Serves streams of several kinds on one port. What a stranger sends (another key, garbage, messages that are too large)
 * ends that stream and nothing else.
 */
export class RpcServer {
  readonly #server: Server;
  readonly #http2 = new Set<Http2Server>();
  readonly #sockets = new Set<Socket>();
  readonly #links = new Set<{ close(reason: FsError): void }>();
  #bindError: NodeJS.ErrnoException | undefined;

  constructor(private readonly opts: RpcServerOptions) {
    this.#server = createServer((http2) => {
      this.#http2.add(http2);
      http2.on("connection", (socket: Socket) => this.#connected(socket));
      http2.on("error", (error: NodeJS.ErrnoException) => (this.#bindError = error));
    });
  }

  /** Before listen(): `accept` gets each stream of this kind once it has proved the key, and opens it. */
  handle<Req, Rep>(kind: StreamKind<Req, Rep>, accept: (link: Link<Rep, Req>) => void): void {
    const identity = (bytes: Buffer) => bytes;
    const serve = (stream: ServerStream) => this.#greet(kind, stream, accept);
    const isNew = this.#server.register(kind.path, serve, identity, identity, "bidi");
    if (!isNew) throw new Error(`${kind.path} is handled already`);
  }

  /** Listens on HOST:PORT (port 0: a free one) and returns HOST:PORT with the real port. StartupError when it cannot. */
  async listen(address: string): Promise<string> {
    const { host } = listenAddress(address);
    try {
      const port = await new Promise<number>((resolve, reject) => {
        this.#server.bindAsync(address, ServerCredentials.createInsecure(), (error, bound) =>
          error === null ? resolve(bound) : reject(error),
        );
      });
      return formatAddress({ host, port });
    } catch (error) {
      throw cannotListen(address, this.#bindError ?? (error as Error));
    }
  }

  /** Closes every stream, connection and port; resolves when the port is free. */
  async stop(): Promise<void> {
    for (const link of this.#links) link.close(new FsError("EIO", "the daemon is stopping"));
    const closed = [...this.#http2].filter((http2) => http2.listening).map((http2) => once(http2, "close"));
    this.#server.forceShutdown();
    // A connection whose other side never says anything is no session yet.
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(closed);
  }

  #connected(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
  }

  #greet<Req, Rep>(kind: StreamKind<Req, Rep>, stream: ServerStream, accept: (link: Link<Rep, Req>) => void): void {
    const address = stream.getPeer();
    const link = new StreamLink<Rep, Req>(stream as unknown as Duplex, {
      out: kind.reply,
      in: kind.request,
      packed: kind.packed ?? false,
      address,
      finish: (reason) => {
        if (reason?.errno === "EPROTO" && link.isEstablished) {
          this.opts.log.warn({ err: reason, kind: kind.path, peer: address }, "ended a stream");
        }
        if (reason === undefined) stream.end();
        else stream.emit("error", Object.assign(new Error(reason.message), toStatus(reason)));
      },
    });
    this.#links.add(link);
    const lost = (why: string) => {
      this.#links.delete(link);
      link.lost(new FsError("EIO", `${address}: ${why}`));
    };
    stream.on("error", (error) => lost(error.message));
    stream.on("cancelled", () => lost("the connection was lost"));
    stream.on("close", () => lost("the connection was lost"));
    stream.on("end", () => {
      lost("closed by the other side");
      stream.end();
    });
    void this.#admit(kind, link, accept, address);
  }

  async #admit<Req, Rep>(
    kind: StreamKind<Req, Rep>,
    link: StreamLink<Rep, Req>,
    accept: (link: Link<Rep, Req>) => void,
    address: string,
  ): Promise<void> {
    const { key, clock, log, handshakeMs = 5_000 } = this.opts;
    const late = new FsError("ETIMEDOUT", `no handshake within ${handshakeMs} ms`);
    const cancelTimer = clock.after(handshakeMs, () => link.close(late));
    try {
      const now = () => clock.now();
      link.establish(await welcome(link.conversation(), { key, volume: this.opts.volume, now }));
    } catch (error) {
      log.warn({ err: error, kind: kind.path, peer: address }, "refused a stream");
      link.close(error instanceof FsError ? error : new FsError(errnoOf(error), "the handshake failed"));
      return;
    } finally {
      cancelTimer();
    }
    accept(link);
  }
}

function listenAddress(address: string): { host: string } {
  try {
    return parseAddress(address);
  } catch (error) {
    throw new StartupError((error as Error).message, { hint: "for example 127.0.0.1:50052", cause: error });
  }
}

function cannotListen(address: string, error: NodeJS.ErrnoException): StartupError {
  if (error.code === "EADDRINUSE") {
    return new StartupError(`the port of ${address} is taken by another process`, {
      hint: `stop that process ('ss -ltnp' shows it), or give another --listen HOST:PORT`,
      cause: error,
    });
  }
  const hints: Record<string, string> = {
    EACCES: "ports below 1024 need privileges: give a higher one with --listen HOST:PORT",
    EADDRNOTAVAIL: "this machine does not have that address: give one of its own with --listen HOST:PORT",
  };
  return new StartupError(`cannot listen on ${address}: ${error.message}`, {
    hint: hints[error.code ?? ""] ?? "give another --listen HOST:PORT",
    cause: error,
  });
}
