import { connect as connectHttp2, createServer as createHttp2Server, type Http2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import { test } from "tap";
import { dial } from "../../../daemon/common/rpc/client.js";
import { SESSION } from "../../../daemon/common/rpc/kinds.js";
import { WINDOW_BYTES } from "../../../daemon/common/rpc/transport.js";
import { DIAL, echo, serve } from "./lab.js";

/** What the other end of this session lets us send on a stream, and on the connection, once that is a whole window. */
async function remoteWindows(session: Http2Session): Promise<{ stream: number; connection: number }> {
  while ((session.remoteSettings?.initialWindowSize ?? 0) < WINDOW_BYTES) {
    await new Promise<void>((resolve) => session.once("remoteSettings", () => resolve()));
  }
  while ((session.state.remoteWindowSize ?? 0) < WINDOW_BYTES) await new Promise<void>((done) => setImmediate(done));
  return { stream: session.remoteSettings.initialWindowSize ?? 0, connection: session.state.remoteWindowSize ?? 0 };
}

test("a server lets its clients send a whole window at once", async (t) => {
  const { address } = await serve(t, echo);
  const session = connectHttp2(`http://${address}`);
  t.teardown(() => session.destroy());
  t.same(await remoteWindows(session), { stream: WINDOW_BYTES, connection: WINDOW_BYTES });
});

test("a client lets its servers send a whole window at once", async (t) => {
  const server = createHttp2Server();
  const arrived = new Promise<Http2Session>((resolve) => server.once("session", resolve));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const dialled = dial(SESSION, `127.0.0.1:${(server.address() as AddressInfo).port}`, DIAL).catch(() => {});
  const session = await arrived;
  t.same(await remoteWindows(session), { stream: WINDOW_BYTES, connection: WINDOW_BYTES });
  session.destroy();
  server.close();
  await dialled;
});
