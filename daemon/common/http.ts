import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Registry } from "prom-client";
import { formatAddress, parseListen } from "./address.js";
import { StartupError } from "./running.js";

export interface Health {
  readonly ok: boolean;
  readonly detail: object;
}

export interface HttpServer {
  /** HOST:PORT with the real port. */
  readonly listen: string;
  stop(): Promise<void>;
}

/** Serves GET /metrics (Prometheus text) and /healthz (200 or 503, with details as JSON). `listen`: [HOST:]PORT. */
export async function serveHttp(opts: {
  readonly listen: string;
  readonly registry: Registry;
  readonly health: () => Health;
}): Promise<HttpServer> {
  const { host, port } = parseListen(opts.listen);
  const server = createServer((request, response) => void answer(request, response, opts));
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) =>
      reject(
        new StartupError(
          `cannot serve http on ${opts.listen}: ${error.code === "EADDRINUSE" ? "the port is taken" : error.message}`,
          {
            hint: "give another port with --http [HOST:]PORT",
            cause: error,
          },
        ),
      ),
    );
    server.listen(port, host, resolve);
  });
  return {
    listen: formatAddress({ host, port: (server.address() as AddressInfo).port }),
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  { registry, health }: { registry: Registry; health: () => Health },
): Promise<void> {
  const reply = (code: number, type: string, body: string) =>
    response.writeHead(code, { "content-type": type }).end(body);
  try {
    if (request.method !== "GET") reply(405, "text/plain", "only GET\n");
    else if (request.url === "/metrics") reply(200, registry.contentType, await registry.metrics());
    else if (request.url === "/healthz") {
      const { ok, detail } = health();
      reply(ok ? 200 : 503, "application/json", `${JSON.stringify({ ok, ...detail })}\n`);
    } else reply(404, "text/plain", "there are /metrics and /healthz\n");
  } catch (error) {
    reply(500, "text/plain", `${(error as Error).message}\n`);
  }
}
