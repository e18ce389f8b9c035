import { test } from "tap";
import { MetaHarness, resultOf } from "../../helpers/meta-harness.js";

const DIR = { mode: 0o040755 };

test("names are made, found, listed, renamed and removed over a stream", async (t) => {
  const harness = await MetaHarness.start(t, { sqlite: true });
  const client = await harness.client();
  const dir = await client.create(1, "folder", DIR);
  const ino = await client.create(dir, "file");
  t.equal((await client.lookup(dir, "file")).attr?.ino, ino);
  t.same(await client.names(1), ["folder"]);
  const rename = { fromDir: dir, fromName: Buffer.from("file"), intoDir: 1, intoName: Buffer.from("\xff", "latin1") };
  await client.call("rename", { ...rename, noReplace: false, exchange: false });
  t.same(await client.names(1), ["folder", "\xff"]);
  t.equal((await client.lookup(dir, "file")).attr, undefined);
  t.equal((await client.ask("rmdir", { dir: 1, name: Buffer.from("folder") })).errno, "");
  t.equal((await client.ask("unlink", { dir: 1, name: Buffer.from("\xff", "latin1") })).errno, "");
  t.same(await client.names(1), []);
});

test("a listing comes in pages, with attributes when asked for, and says who the parent is", async (t) => {
  const harness = await MetaHarness.start(t);
  const client = await harness.client();
  const dir = await client.create(1, "folder", DIR);
  const made = new Map<string, number>();
  for (let i = 0; i < 25; i++) made.set(`f${i}`, await client.create(dir, `f${i}`));
  const seen = new Map<string, number>();
  let after = 0;
  for (;;) {
    const page = await client.call("readdir", { dir, after, limit: 10, withAttrs: true });
    t.equal(page.parent, 1);
    for (const { name, ino, attr, cookie } of page.entries) {
      t.equal(attr?.ino, ino);
      t.ok(cookie > after, "cookies grow");
      seen.set(name.toString(), ino);
      after = cookie;
    }
    if (page.end) break;
  }
  t.same(seen, made);
  const bare = await client.call("readdir", { dir, after: 0, limit: 0, withAttrs: false });
  t.equal(bare.entries[0]?.attr, undefined);
});

test("what makes no sense is refused with an errno, and the stream lives on", async (t) => {
  const harness = await MetaHarness.start(t);
  const client = await harness.client();
  t.equal((await client.answer(client.send(undefined))).errno, "ENOSYS");
  t.equal((await client.answer(client.send(client.make(1, "")))).errno, "EINVAL");
  t.equal((await client.answer(client.send(client.make(1, "x".repeat(256))))).errno, "ENAMETOOLONG");
  t.equal((await client.answer(client.send(client.make(2 ** 52, "x")))).errno, "ESTALE");
  t.equal((await client.ask("getattr", { ino: 2 ** 53 - 1 })).errno, "ESTALE");
  t.equal((await client.ask("readdir", { dir: 77, after: 0, limit: 1e6, withAttrs: true })).errno, "ESTALE");
  t.equal((await client.ask("getattr", { ino: 1 }, { cred: undefined })).errno, "EINVAL");
  t.equal(await client.create(1, "x".repeat(255)).then((ino) => ino > 0), true);
});

test("a client that does not attach first, or attaches twice, loses that stream and no other does", async (t) => {
  const harness = await MetaHarness.start(t);
  const good = await harness.client();
  const rude = await harness.client(false);
  rude.send({ $case: "getattr", value: { ino: 1 } });
  await rude.untilClosed();
  const twice = await harness.client();
  twice.send({
    $case: "attach",
    value: { session: 0, name: "", readOnly: false, open: [], locks: [], replayDone: false },
  });
  await twice.untilClosed();
  t.equal((await good.call("getattr", { ino: 1 })).attr?.ino, 1);
});

test("a session that may only read changes nothing", async (t) => {
  const harness = await MetaHarness.start(t);
  const client = await harness.client({ readOnly: true });
  t.equal((await client.answer(client.send(client.make(1, "x")))).errno, "EROFS");
  t.equal((await client.ask("alloc", { count: 1 })).errno, "EROFS");
  t.same(await client.names(1), []);
});

test("ranges of chunk ids are on disk before they are given, and are never given twice", async (t) => {
  const harness = await MetaHarness.start(t);
  const client = await harness.client();
  harness.gates.close("before commit");
  const asked = client.send({ $case: "alloc", value: { count: 10 } });
  await client.call("getattr", { ino: 1 });
  t.notOk(
    client.frames.some((frame) => frame.id === asked),
    "not before it is on disk",
  );
  harness.gates.open();
  const first = resultOf("alloc", await client.answer(asked));
  await harness.kill();
  await harness.start();
  const other = await harness.client();
  const back = await harness.client({ session: client.session, replayDone: true });
  const second = await back.call("alloc", { count: 10 });
  const third = await other.call("alloc", { count: 10 });
  t.ok(first.first + first.count <= second.first, "later ids are higher");
  t.ok(second.first + second.count <= third.first);
});

test("the state of the daemon is told to administrators", async (t) => {
  const harness = await MetaHarness.start(t, { http: "127.0.0.1:0" });
  const client = await harness.client({ name: "host:/mnt" });
  await client.create(1, "open", { open: true });
  const status = await harness.status();
  t.match(status, { phase: "serve", replicas: 2, inodes: 2 });
  t.match(status.sessions, [{ id: client.session, name: "host:/mnt", connected: true, openFiles: 1 }]);
});
