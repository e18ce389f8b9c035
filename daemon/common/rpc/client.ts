import type { Duplex } from "node:stream";
import { Client, Metadata, type StatusObject } from "@grpc/grpc-js";
import { FsError, errnoOf } from "../../../proto/errno.js";
import type { Clock } from "../clock.js";
import { greet } from "./handshake.js";
import type { Link, StreamKind } from "./link.js";
import { fromStatus } from "./status.js";
import { StreamLink } from "./stream-link.js";
import { CLIENT_OPTIONS, checkVersion, plainConnection } from "./transport.js";

/** How long the other side has to end a stream that was closed here. */
const FAREWELL_MS = 1_000;

export interface DialOptions {
  /** The cluster key. */
  readonly key: Buffer;
  /** "mount", "store", "admin", "meta". */
  readonly role: string;
  /** Uuid of the volume that is expected; undefined: any. */
  readonly volume?: string;
  /** For reaching the other side and the handshake together. */
  readonly connectMs: number;
  readonly clock: Clock;
}

/**
 * A stream to the daemon at `address` (HOST:PORT), on a connection of its own. Rejects with FsError: ECONNREFUSED or
 * ETIMEDOUT not reachable, EACCES another key, EPROTO another protocol, volume or kind of daemon.
 */
export async function dial<Req, Rep>(
  kind: StreamKind<Req, Rep>,
  address: string,
  opts: DialOptions,
): Promise<Link<Req, Rep>> {
  checkVersion();
  const link = connect(kind, address, opts.clock);
  const cancelTimer = opts.clock.after(opts.connectMs, () =>
    link.close(new FsError("ETIMEDOUT", `no answer from ${address} within ${opts.connectMs} ms`)),
  );
  try {
    link.establish(await greet(link.conversation(), opts));
    return link;
  } catch (error) {
    const reason = error instanceof FsError ? error : new FsError(errnoOf(error), `${address}`, { cause: error });
    link.close(reason);
    throw reason;
  } finally {
    cancelTimer();
  }
}

function connect<Req, Rep>(kind: StreamKind<Req, Rep>, address: string, clock: Clock): StreamLink<Req, Rep> {
  const connection = plainConnection();
  const client = new Client(`dns:${address}`, connection.credentials, CLIENT_OPTIONS);
  // Both ways bytes: what is written answers what grpc-js asks of a Buffer (see Outgoing).
  const identity = (bytes: Buffer) => bytes;
  const stream = client.makeBidiStreamRequest(kind.path, identity, identity, new Metadata(), {});
  const link = new StreamLink<Req, Rep>(stream as unknown as Duplex, {
    out: kind.request,
    in: kind.reply,
    packed: kind.packed ?? false,
    address,
    finish: (reason) => {
      if (reason === undefined) {
        stream.end();
        const cancelTimer = clock.after(FAREWELL_MS, () => stream.cancel());
        stream.once("status", cancelTimer);
        return;
      }
      stream.cancel();
    },
  });
  const lost = (error: { code?: number | string; details?: string; message?: string }) => {
    const reason = fromStatus(error, address);
    // Whoever has a link was not refused: it broke.
    const broke = reason.errno === "ECONNREFUSED" && link.isEstablished;
    link.lost(broke ? new FsError("EIO", reason.detail, { cause: error }) : reason);
  };
  stream.on("error", lost);
  stream.on("status", (status: StatusObject) => {
    lost({ code: status.code, details: status.details || "the stream was ended" });
    client.close();
    connection.cut();
  });
  return link;
}
