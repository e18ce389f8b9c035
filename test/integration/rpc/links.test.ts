import { test } from "tap";
import { StartupError } from "../../../daemon/common/running.js";
import { dial } from "../../../daemon/common/rpc/client.js";
import { CHUNKS, SESSION } from "../../../daemon/common/rpc/kinds.js";
import { FsError } from "../../../proto/errno.js";
import { DIAL, answer, connect, echo, frame, record, serve, type ServerLink } from "./lab.js";

test("messages arrive once and in order, sent one by one or in crowds", async (t) => {
  const { address } = await serve(t, echo);
  const link = await connect(t, address);
  const answers = record(link);
  for (let id = 1; id <= 3000; id++) {
    link.send(frame(id, Buffer.alloc(id % 700)));
    if (id % 97 === 0) await answers.messages(id - 50);
  }
  await answers.messages(3000);
  t.same(
    answers.got.map((m) => m.id),
    Array.from({ length: 3000 }, (_, i) => i + 1),
  );
});

test("what arrives before a link is opened is kept", async (t) => {
  const { address } = await serve(t, (link) => {
    for (let id = 1; id <= 500; id++) link.send(answer(id));
    link.open({ message: () => {}, closed: () => {} });
    link.close(new FsError("EPROTO", "that was all"));
  });
  const link = await connect(t, address);
  await new Promise((resolve) => setImmediate(resolve));
  const kept = record(link);
  const reason = await kept.end;
  t.equal(kept.got.length, 500);
  t.equal(kept.got.at(-1)?.id, 500);
  t.match(reason, { errno: "EPROTO", detail: /that was all/ });
});

test("what was sent before a close arrives, and both sides hear once that it is over", async (t) => {
  let served: ReturnType<typeof record> | undefined;
  const { address } = await serve(t, (link) => (served = record(link)));
  const link = await dial(SESSION, address, DIAL);
  const here = record(link);
  for (let id = 1; id <= 200; id++) link.send(frame(id));
  link.close();
  link.close();
  link.send(frame(999));
  await here.end;
  if (served === undefined) throw new Error("no link was accepted");
  await served.end;
  t.equal(served.got.length, 200);
  t.equal(served.closed.length, 1);
  t.equal(here.closed.length, 1);
});

test("a link that nobody reads becomes congested, and drains when somebody does", async (t) => {
  let accepted: ServerLink | undefined;
  const { address } = await serve(t, (link) => (accepted = link));
  const link = await connect(t, address);
  record(link);
  const name = Buffer.alloc(512 * 1024);
  let sent = 0;
  while (!link.congested && sent < 200) link.send(frame(++sent, name));
  t.ok(link.congested);
  // The windows, and what the streams hold, are bounded: it stays so.
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  while (!link.congested && sent < 400) link.send(frame(++sent, name));
  t.ok(link.congested);
  const drained = link.drained();
  if (accepted === undefined) throw new Error("no link was accepted");
  const served = record(accepted);
  await drained;
  t.notOk(link.congested);
  await served.messages(sent);
});

test("who waits for a congested link hears when it is closed", async (t) => {
  const { address } = await serve(t, () => {});
  const link = await dial(SESSION, address, DIAL);
  while (!link.congested) link.send(frame(1, Buffer.alloc(1024 * 1024)));
  const drained = link.drained();
  link.close(new FsError("EIO"));
  await drained;
  t.notOk(link.congested);
});

test("stop ends at once with streams open and busy, and frees the port", async (t) => {
  const { server, address } = await serve(t, (link) => link.open({ message: () => {}, closed: () => {} }));
  const links = await Promise.all([1, 2, 3].map(() => dial(SESSION, address, DIAL)));
  const ends = links.map((link) => record(link).end);
  for (const link of links) for (let id = 1; id < 50; id++) link.send(frame(id, Buffer.alloc(100_000)));
  await server.stop();
  for (const reason of await Promise.all(ends)) t.ok(reason instanceof FsError);
  const { server: next } = await serve(t, echo);
  await next.stop();
  await t.rejects(dial(SESSION, address, DIAL), { name: "FsError", errno: "ECONNREFUSED" });
  await server.stop();
});

test("a port that is taken, a bad address and one of another machine are start-up errors with a way out", async (t) => {
  const { address } = await serve(t, echo);
  const { server } = await serve(t, echo);
  for (const [taken, message] of [
    [address, /taken/],
    ["nonsense", /HOST:PORT/],
    ["203.0.113.1:4000", /cannot listen/],
  ] as const) {
    const error: unknown = await server.listen(taken).catch((e: unknown) => e);
    t.type(error, StartupError);
    t.match((error as Error).message, message);
    t.not((error as StartupError).hint, "");
  }
});

test("one port serves several kinds of stream", async (t) => {
  const { RpcServer } = await import("../../../daemon/common/rpc/server.js");
  const { createLog } = await import("../../../daemon/common/log.js");
  const server = new RpcServer({
    ...DIAL,
    log: createLog("test", "silent"),
    volume: () => ({ uuid: "", incarnation: 0 }),
  });
  server.handle(SESSION, echo);
  server.handle(CHUNKS, (link) =>
    link.open({
      message: ({ header, payload }) =>
        link.send({
          header: {
            id: header.id,
            errno: "",
            detail: "",
            nodes: [],
            len: 0,
            crc: 0,
            process: undefined,
            folder: "",
            uuid: "",
          },
          payload,
        }),
      closed: () => {},
    }),
  );
  const address = await server.listen("127.0.0.1:0");
  t.teardown(() => server.stop());
  const chunks = await dial(CHUNKS, address, DIAL);
  t.teardown(() => chunks.close());
  const payload = Buffer.alloc(1 << 20, 7);
  chunks.send({ header: { id: 4, op: { $case: "verify", value: { chunk: 1 } } }, payload });
  const [reply] = await record(chunks).messages(1);
  t.ok(reply?.payload.equals(payload));
  const session = await connect(t, address);
  session.send(frame(1));
  t.equal((await record(session).messages(1))[0]?.id, 1);
});
