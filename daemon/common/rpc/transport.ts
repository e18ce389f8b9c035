import { createRequire } from "node:module";
import type { Http2Server, ServerHttp2Session } from "node:http2";
import type { Socket } from "node:net";
import {
  Server,
  credentials,
  logVerbosity,
  setLogVerbosity,
  type ChannelCredentials,
  type ChannelOptions,
  type ServerCredentials,
  type ServerOptions,
} from "@grpc/grpc-js";
import { LIMITS } from "../../../proto/limits.js";

/**
 * How grpc-js is set up, and the one place that reaches into it: HTTP/2 flow control of both sides. With grpc-js's own
 * 64 KiB windows an upload of 1 MiB messages over loopback is about five times slower.
 *
 * Verified against this version; package.json pins it. A new one has to pass test/integration/rpc/windows.test.ts.
 */
export const GRPC_VERSION = "1.14.7";

/** Bytes that a peer may send on a stream, and on a connection, before they were read. */
export const WINDOW_BYTES = 8 * 1024 * 1024;

/** A dead peer is noticed within the sum of these two. */
const KEEPALIVE_TIME_MS = 4_000;
const KEEPALIVE_TIMEOUT_MS = 4_000;
/** A connection without a stream is nobody's. */
const IDLE_MS = 60_000;
const STREAMS_PER_CONNECTION = 64;

const COMMON = {
  "grpc.max_receive_message_length": LIMITS.messageMax,
  "grpc.max_send_message_length": LIMITS.messageMax,
  "grpc.keepalive_time_ms": KEEPALIVE_TIME_MS,
  "grpc.keepalive_timeout_ms": KEEPALIVE_TIMEOUT_MS,
  "grpc.enable_channelz": 0,
} as const;

/** Options of a client that is one connection of its own, straight to its peer. */
export const CLIENT_OPTIONS: ChannelOptions = {
  ...COMMON,
  "grpc-node.flow_control_window": WINDOW_BYTES,
  "grpc.use_local_subchannel_pool": 1,
  "grpc.enable_retries": 0,
  "grpc.enable_http_proxy": 0,
  "grpc.service_config_disable_resolution": 1,
};

const SERVER_OPTIONS: ServerOptions = {
  ...COMMON,
  "grpc.max_concurrent_streams": STREAMS_PER_CONNECTION,
  "grpc.max_connection_idle_ms": IDLE_MS,
};

interface Http2Factory {
  createHttp2Server(credentials: ServerCredentials): Http2Server;
}

/** A server with wide windows. `onCreate` gets each of its HTTP/2 servers before it listens. */
export function createServer(onCreate: (server: Http2Server) => void): Server {
  checkVersion();
  const server = new Server(SERVER_OPTIONS);
  const factory = server as unknown as Partial<Http2Factory>;
  const create = factory.createHttp2Server;
  if (create === undefined) throw new Error(`@grpc/grpc-js ${GRPC_VERSION} creates its HTTP/2 servers elsewhere`);
  factory.createHttp2Server = function (credentials) {
    const http2 = create.call(server as unknown as Http2Factory, credentials);
    http2.on("session", widen);
    onCreate(http2);
    return http2;
  };
  return server;
}

function widen(session: ServerHttp2Session): void {
  session.settings({ initialWindowSize: WINDOW_BYTES, maxConcurrentStreams: STREAMS_PER_CONNECTION });
  session.setLocalWindowSize(WINDOW_BYTES);
  const { effectiveLocalWindowSize } = session.state;
  if (effectiveLocalWindowSize !== WINDOW_BYTES) {
    throw new Error(`the HTTP/2 window is ${effectiveLocalWindowSize} bytes, not ${WINDOW_BYTES}`);
  }
}

/**
 * Credentials for one client, in the clear, and the way to end its connection at once: grpc-js would leave one open that
 * still waits for the first word of a frozen peer.
 */
export function plainConnection(): { readonly credentials: ChannelCredentials; cut(): void } {
  const sockets = new Set<Socket>();
  let isCut = false;
  const plain = credentials.createInsecure();
  const create = plain._createSecureConnector.bind(plain);
  plain._createSecureConnector = (...args) => {
    const connector = create(...args);
    return {
      connect: (socket) => {
        if (isCut) socket.destroy();
        sockets.add(socket);
        socket.once("close", () => sockets.delete(socket));
        return connector.connect(socket);
      },
      waitForReady: () => connector.waitForReady(),
      getCallCredentials: () => connector.getCallCredentials(),
      destroy: () => connector.destroy(),
    };
  };
  const cut = () => {
    isCut = true;
    for (const socket of sockets) socket.destroy();
  };
  return { credentials: plain, cut };
}

let isVersionChecked = false;

/** Called before anything is served or dialled. */
export function checkVersion(): void {
  if (isVersionChecked) return;
  const { version } = createRequire(import.meta.url)("@grpc/grpc-js/package.json") as { version: string };
  if (version !== GRPC_VERSION) {
    throw new Error(`@grpc/grpc-js is ${version}, this build was made for ${GRPC_VERSION}: run npm ci`);
  }
  // It writes to stderr by itself otherwise; what matters reaches us as a status.
  setLogVerbosity(logVerbosity.NONE);
  isVersionChecked = true;
}
