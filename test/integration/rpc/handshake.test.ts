import { Client, Metadata, credentials, status } from "@grpc/grpc-js";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { test, type Test } from "tap";
import { dial } from "../../../daemon/common/rpc/client.js";
import { ADMIN, CHUNKS, SESSION } from "../../../daemon/common/rpc/kinds.js";
import { Hello } from "../../../proto/gen/bigfs/v1/handshake.js";
import { ClientFrame } from "../../../proto/gen/bigfs/v1/meta.js";
import { FakeClock } from "../../helpers/fake-clock.js";
import { DIAL, KEY, connect, echo, frame, record, serve } from "./lab.js";

test("with the key a link is handed out that tells about the other side", async (t) => {
  const peers: string[] = [];
  const { address } = await serve(t, (link) => {
    peers.push(`${link.peer.role} ${link.peer.volume}`);
    echo(link);
  });
  const link = await connect(t, address, { volume: "volume-1" });
  t.match(link.peer, { volume: "volume-1", incarnation: 3, protocol: 1, address });
  t.same(peers, ["mount volume-1"]);
  link.send(frame(1));
  t.equal((await record(link).messages(1))[0]?.id, 1);
});

test("another key is EACCES and the server's side gets no link", async (t) => {
  let links = 0;
  const { address } = await serve(t, () => links++);
  await t.rejects(dial(SESSION, address, { ...DIAL, key: Buffer.alloc(32, 2) }), { name: "FsError", errno: "EACCES" });
  t.equal(links, 0);
});

test("another volume, another kind of daemon and a port where nobody listens are told apart", async (t) => {
  const { address } = await serve(t, echo);
  await t.rejects(dial(SESSION, address, { ...DIAL, volume: "volume-2" }), { name: "FsError", errno: "EPROTO" });
  await t.rejects(dial(CHUNKS, address, DIAL), { name: "FsError", errno: "EPROTO", detail: /another kind of daemon/ });
  await t.rejects(dial(ADMIN, "127.0.0.1:1", DIAL), { name: "FsError", errno: "ECONNREFUSED" });
});

test("a listener that says nothing is ETIMEDOUT after connectMs", async (t) => {
  let end = () => {};
  const ended = new Promise<void>((resolve) => (end = resolve));
  const mute = createServer((socket) => {
    socket.on("error", () => {});
    socket.on("close", () => end());
    socket.resume();
  });
  await new Promise<void>((resolve) => mute.listen(0, "127.0.0.1", resolve));
  t.teardown(() => mute.close());
  const clock = new FakeClock();
  const address = `127.0.0.1:${(mute.address() as AddressInfo).port}`;
  const arrived = new Promise((resolve) => mute.once("connection", resolve));
  const refused = t.rejects(dial(SESSION, address, { ...DIAL, clock, connectMs: 500 }), {
    name: "FsError",
    errno: "ETIMEDOUT",
  });
  await arrived;
  await clock.advance(501);
  await refused;
  // Nothing stays behind: the other side sees the connection end.
  await ended;
});

/** A caller that speaks gRPC but says what it likes. */
function rawStream(t: Test, address: string, messages: readonly Uint8Array[]) {
  const client = new Client(`dns:${address}`, credentials.createInsecure());
  const same = (bytes: Buffer) => bytes;
  const stream = client.makeBidiStreamRequest(SESSION.path, same, same, new Metadata(), {});
  const heard: Buffer[] = [];
  stream.on("data", (bytes: Buffer) => heard.push(bytes));
  const ended = new Promise<number>((resolve) => {
    stream.on("error", () => {});
    stream.on("status", (end: { code: number }) => resolve(end.code));
  });
  for (const message of messages) stream.write(Buffer.from(message));
  t.teardown(() => client.close());
  return { heard, ended };
}

test("who sends requests instead of a greeting gets no answer and is sent away", async (t) => {
  let links = 0;
  const { address } = await serve(t, () => links++);
  const { heard, ended } = rawStream(t, address, [ClientFrame.encode(frame(1)).finish()]);
  t.equal(await ended, status.FAILED_PRECONDITION);
  t.same(heard, []);
  t.equal(links, 0);
});

test("who asks for a protocol of the future is told which is spoken", async (t) => {
  const { address } = await serve(t, echo);
  const hello = Hello.encode({ protocolMin: 7, protocolMax: 9, role: "mount", nonce: Buffer.alloc(32) }).finish();
  t.equal(await rawStream(t, address, [hello]).ended, status.FAILED_PRECONDITION);
});

test("who starts a stream and never greets is sent away when time is up", async (t) => {
  const clock = new FakeClock();
  const { address } = await serve(t, echo, { clock, handshakeMs: 700 });
  const silent = rawStream(t, address, []);
  while (clock.timers === 0) await new Promise<void>((resolve) => setImmediate(resolve));
  await clock.advance(701);
  t.equal(await silent.ended, status.DEADLINE_EXCEEDED);
  t.equal(KEY.length, 32);
});
