import { test } from "tap";
import { FsError } from "../../../../proto/errno.js";
import { Hello, Proof, Welcome } from "../../../../proto/gen/bigfs/v1/handshake.js";
import { greet, welcome, type Conversation } from "../../../../daemon/common/rpc/handshake.js";

const KEY = Buffer.alloc(32, 1);
const OTHER = Buffer.alloc(32, 2);

/** Two ends of a talk; `twist` may change what one end hears. */
function talk(twist: (from: "client" | "server", bytes: Buffer) => Buffer = (_, bytes) => bytes) {
  const end = (name: "client" | "server") => {
    const heard: Buffer[] = [];
    const waiting: ((bytes: Buffer) => void)[] = [];
    return {
      name,
      push(bytes: Buffer) {
        const next = waiting.shift();
        if (next === undefined) heard.push(bytes);
        else next(bytes);
      },
      hear: () => {
        const first = heard.shift();
        return first === undefined ? new Promise<Buffer>((resolve) => waiting.push(resolve)) : Promise.resolve(first);
      },
    };
  };
  const client = end("client");
  const server = end("server");
  const conversation = (self: typeof client, other: typeof client): Conversation => ({
    address: other.name,
    say: (bytes) => other.push(twist(self.name, Buffer.from(bytes))),
    hear: self.hear,
  });
  return { client: conversation(client, server), server: conversation(server, client) };
}

const serving = (key: Buffer, uuid = "v1") => ({
  key,
  volume: () => ({ uuid, incarnation: 5 }),
  now: () => ({ sec: 1, nsec: 0 }),
});

test("both sides learn about each other", async (t) => {
  const { client, server } = talk();
  const [theirs, mine] = await Promise.all([
    greet(client, { key: KEY, role: "mount", volume: "v1" }),
    welcome(server, serving(KEY)),
  ]);
  t.match(theirs, { volume: "v1", incarnation: 5, protocol: 1 });
  t.match(mine, { role: "mount", volume: "v1", protocol: 1 });
});

test("a server without the key is found out by the client", async (t) => {
  // It lets everybody in and has to make up a proof.
  const { client, server } = talk();
  const impostor = (async () => {
    const hello = Hello.decode(await server.hear());
    server.say(
      (await import("../../../../proto/gen/bigfs/v1/handshake.js")).Challenge.encode({
        protocol: 1,
        nonce: hello.nonce,
      }).finish(),
    );
    // The best that it has: the client's own proof, over equal nonces.
    const { proof } = Proof.decode(await server.hear());
    server.say(Welcome.encode({ proof, volume: "v1", incarnation: 1, clockMs: 1 }).finish());
  })();
  await t.rejects(greet(client, { key: KEY, role: "mount" }), { name: "FsError", errno: "EACCES" });
  await impostor;
});

test("a client without the key hears nothing about the volume", async (t) => {
  const told: Buffer[] = [];
  const { client, server } = talk((from, bytes) => {
    if (from === "server") told.push(bytes);
    return bytes;
  });
  void greet(client, { key: OTHER, role: "mount" }).catch(() => {});
  await t.rejects(welcome(server, serving(KEY, "secret-volume")), { name: "FsError", errno: "EACCES" });
  t.notOk(Buffer.concat(told).includes("secret-volume"));
});

test("what was said in one handshake proves nothing in another", async (t) => {
  let proof: Buffer | undefined;
  const first = talk((from, bytes) => {
    if (from === "client") proof = bytes;
    return bytes;
  });
  await Promise.all([greet(first.client, { key: KEY, role: "mount" }), welcome(first.server, serving(KEY))]);
  const second = talk();
  const answer = welcome(second.server, serving(KEY));
  second.client.say(Hello.encode({ protocolMin: 1, protocolMax: 1, role: "mount", nonce: Buffer.alloc(32) }).finish());
  await second.client.hear();
  second.client.say(proof ?? Buffer.alloc(0));
  await t.rejects(answer, { name: "FsError", errno: "EACCES" });
});

test("every flipped byte of a handshake ends it, and nothing but FsError comes of it", async (t) => {
  for (let position = 0; position < 40; position++) {
    for (const liar of ["client", "server"] as const) {
      const { client, server } = talk((from, bytes) => {
        if (from === liar && position < bytes.length) bytes[position] = (bytes[position] ?? 0) ^ 0x41;
        return bytes;
      });
      const late = new Promise<never>((_, reject) => setImmediate(() => reject(new FsError("ETIMEDOUT"))));
      const results = await Promise.allSettled([
        Promise.race([greet(client, { key: KEY, role: "mount", volume: "v1" }), late]),
        Promise.race([welcome(server, serving(KEY)), late]),
      ]);
      for (const result of results) {
        if (result.status === "rejected" && !(result.reason instanceof FsError)) t.fail(String(result.reason));
      }
    }
  }
  t.pass();
});

test("protocols that do not overlap, other volumes, short nonces and long greetings are told as EPROTO", async (t) => {
  const nonce = Buffer.alloc(32, 9);
  const refused = async (hello: Buffer | Uint8Array) => {
    const { client, server } = talk();
    client.say(hello);
    await t.rejects(welcome(server, serving(KEY)), { name: "FsError", errno: "EPROTO" });
  };
  await refused(Hello.encode({ protocolMin: 2, protocolMax: 3, role: "mount", nonce }).finish());
  await refused(Hello.encode({ protocolMin: 1, protocolMax: 1, role: "mount", nonce: nonce.subarray(1) }).finish());
  await refused(Hello.encode({ protocolMin: 1, protocolMax: 1, role: "m".repeat(5000), nonce }).finish());
  await refused(Buffer.from("GET / HTTP/1.1\r\n\r\n"));
  const { client, server } = talk();
  void greet(client, { key: KEY, role: "mount", volume: "v2" }).catch(() => {});
  await t.rejects(welcome(server, serving(KEY, "v1")), { name: "FsError", errno: "EPROTO" });
});
