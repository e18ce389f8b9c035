import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import { test, type Test } from "tap";
import { dial } from "../../../daemon/common/rpc/client.js";
import { SESSION } from "../../../daemon/common/rpc/kinds.js";
import type { StreamKind } from "../../../daemon/common/rpc/link.js";
import { LIMITS } from "../../../proto/limits.js";
import { DIAL, connect, echo, frame, record, serve } from "./lab.js";

async function sendRaw(address: string, bytes: Buffer): Promise<void> {
  const [host = "", port = ""] = address.split(":");
  await new Promise<void>((resolve) => {
    const socket = connectTcp(Number(port), host, () => socket.end(bytes));
    socket.on("data", () => {});
    socket.on("error", () => {});
    socket.on("close", () => resolve());
  });
}

async function mustAnswer(t: Test, address: string): Promise<void> {
  const link = await connect(t, address);
  link.send(frame(9));
  t.equal((await record(link).messages(1))[0]?.id, 9);
}

test("random bytes and HTTP/1 requests on the port end their connection and nothing else", async (t) => {
  const { address } = await serve(t, echo);
  const link = await connect(t, address);
  const links = record(link);
  for (let i = 0; i < 20; i++) await sendRaw(address, randomBytes(1 + i * 50));
  await sendRaw(address, Buffer.from("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"));
  await sendRaw(address, Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), randomBytes(500)]));
  link.send(frame(1));
  t.equal((await links.messages(1))[0]?.id, 1);
  await mustAnswer(t, address);
});

// Without end only the keepalive would notice, after 8 s.
test("a daemon stops although somebody says nothing, or has just come", { timeout: 6_000 }, async (t) => {
  const { address, server } = await serve(t, echo);
  const [host = "", port = ""] = address.split(":");
  const silent = connectTcp(Number(port), host);
  t.teardown(() => silent.destroy());
  silent.on("error", () => {});
  await once(silent, "connect");
  await mustAnswer(t, address);
  const late = connectTcp(Number(port), host);
  t.teardown(() => late.destroy());
  late.on("error", () => {});
  await once(late, "connect");
  await server.stop();
  await t.rejects(dial(SESSION, address, DIAL));
});

/** The same method, but what is sent are the bytes themselves. */
const RAW: StreamKind<Buffer, Buffer> = {
  path: SESSION.path,
  request: { encode: (b: Buffer) => b, decode: (b: Buffer) => b },
  reply: { encode: (b: Buffer) => b, decode: (b: Buffer) => b },
};

test("a malformed message ends its own stream only, and both sides know why", async (t) => {
  const reasons: string[] = [];
  const { address } = await serve(t, (link) => {
    link.open({ message: () => {}, closed: (reason) => reasons.push(reason.errno) });
  });
  const good = await connect(t, address);
  const goodOnes = record(good);
  for (const bytes of [randomBytes(100), Buffer.from([0x0a, 0xff, 0x7f]), Buffer.from([0x0a, 3, 0x0a, 0xff, 0xff])]) {
    const bad = await dial(RAW, address, DIAL);
    bad.send(bytes);
    t.equal((await record(bad).end).errno, "EPROTO");
  }
  t.same(reasons, ["EPROTO", "EPROTO", "EPROTO"]);
  t.same(goodOnes.closed, []);
});

test("a message above the limit ends its own stream only", async (t) => {
  const { address } = await serve(t, echo);
  const good = await connect(t, address);
  const goodOnes = record(good);
  const bad = await dial({ ...RAW, packed: true }, address, DIAL);
  const end = record(bad).end;
  bad.send(Buffer.alloc(LIMITS.messageMax + 1));
  t.equal((await end).errno, "EPROTO");
  good.send(frame(1));
  t.equal((await goodOnes.messages(1))[0]?.id, 1);
});
