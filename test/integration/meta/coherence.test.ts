import { test } from "tap";
import { MetaHarness, resultOf, stateOf, type RawClient } from "../../helpers/meta-harness.js";
import { FakeClock } from "../../helpers/fake-clock.js";
import type { Changed, ClientFrame, ServerFrame } from "../../../proto/gen/bigfs/v1/meta.js";

const NO_CHANGE = { atime: undefined, mtime: undefined, atimeNow: false, mtimeNow: false };

function chmod(client: RawClient, ino: number, mode: number): Promise<unknown> {
  return client.call("setattr", { ino, mode, ...NO_CHANGE });
}

/** Time passes for the daemon while these clients go on renewing. */
async function pass(clock: FakeClock, ms: number, alive: readonly RawClient[]): Promise<void> {
  for (let left = ms; left > 0; left -= 1_000) {
    await clock.advance(Math.min(left, 1_000));
    for (const client of alive) await client.call("renew", { replayDone: false });
  }
}

test("a change is answered when whoever cached what it changes has dropped it", async (t) => {
  const harness = await MetaHarness.start(t);
  const writer = await harness.client();
  const reader = await harness.client();
  const ino = await writer.create(1, "f");
  reader.confirms = false;
  t.match(await reader.lookup(1, "f"), { cached: true, entryCached: true });
  const changed = chmod(writer, ino, 0o600);
  await reader.until(() => reader.recalls.length > 0);
  t.match(reader.recalls, [{ inodes: [{ ino, data: false }], entries: [] }]);
  t.equal(await stateOf(changed), "waiting");
  t.equal((await reader.lookup(1, "f")).attr?.mode, 0o100600, "readers do not wait, and see the change");
  reader.confirm(reader.recalls[0]?.number ?? 0);
  await changed;
});

test("a change that comes again, because its stream broke, is answered no earlier than the first time", async (t) => {
  const harness = await MetaHarness.start(t);
  const writer = await harness.client();
  const reader = await harness.client();
  await writer.create(1, "f");
  reader.confirms = false;
  await reader.lookup(1, "f");
  const unlink = { $case: "unlink", value: { dir: 1, name: Buffer.from("f") } } as const;
  const id = writer.send(unlink);
  await reader.until(() => reader.recalls.length > 0);
  writer.close();
  const next = await harness.client({ session: writer.session });
  t.equal(next.session, writer.session);
  next.nextId = id + 1;
  next.send(unlink, { id, again: true });
  const answered = next.answer(id);
  await next.untilDurable();
  t.equal(await stateOf(answered), "waiting");
  reader.confirm(reader.recalls[0]?.number ?? 0);
  t.equal((await answered).errno, "");
});

test("a second change waits for the recall that the first one sent", async (t) => {
  const harness = await MetaHarness.start(t);
  const [a, b, reader] = [await harness.client(), await harness.client(), await harness.client()];
  const ino = await a.create(1, "f");
  reader.confirms = false;
  await reader.lookup(1, "f");
  const first = chmod(a, ino, 0o600);
  await reader.until(() => reader.recalls.length > 0);
  const second = chmod(b, ino, 0o640);
  t.equal(await stateOf(second), "waiting");
  t.equal(reader.recalls.length, 1);
  reader.confirm(reader.recalls[0]?.number ?? 0);
  await Promise.all([first, second]);
});

test("names that do not exist are cached and recalled too", async (t) => {
  const harness = await MetaHarness.start(t);
  const [a, reader] = [await harness.client(), await harness.client()];
  t.match(await reader.lookup(1, "f"), { attr: undefined, entryCached: true });
  await a.create(1, "f");
  t.match(reader.recalls, [{ entries: [{ dir: 1, name: Buffer.from("f") }] }]);
});

test("an answer that is overtaken by a change does not say that it may be cached", async (t) => {
  const harness = await MetaHarness.start(t);
  const [a, reader] = [await harness.client(), await harness.client()];
  const ino = await a.create(1, "f");
  await a.untilDurable();
  harness.gates.close("before commit");
  await chmod(a, ino, 0o600);
  const looked = reader.send({ $case: "lookup", value: { dir: 1, name: Buffer.from("f") } });
  // Answered after the lookup has run, which is behind it.
  await reader.call("getattr", { ino: 1 });
  t.equal(await stateOf(reader.answer(looked)), "waiting", "not durable, so not shown");
  // It waits for its recall, which went out before the answer that it is about.
  await chmod(a, ino, 0o640);
  t.notOk(reader.frames.some((frame) => frame.id === looked));
  t.equal(reader.recalls.length, 1);
  harness.gates.open();
  const answer = resultOf("lookup", await reader.answer(looked));
  t.equal(answer.attr?.mode, 0o100600);
  t.equal(answer.cached, false);
});

test("who caches and is silent holds up a change until its lease is over, and is fenced", async (t) => {
  const clock = new FakeClock();
  const harness = await MetaHarness.start(t, { clock });
  const [writer, silent] = [await harness.client(), await harness.client()];
  const ino = await writer.create(1, "f");
  await silent.lookup(1, "f");
  silent.confirms = false;
  const changed = chmod(writer, ino, 0o600);
  await silent.until(() => silent.recalls.length > 0);
  await pass(clock, harness.deadlines.leaseMs, [writer]);
  t.equal(await stateOf(changed), "waiting");
  await pass(clock, harness.deadlines.leaseMarginMs + 1_000, [writer]);
  await changed;
  t.equal((await silent.untilClosed()).errno, "EIO");
  const next = await harness.client(false);
  t.not((await next.attach({ session: silent.session })).session, silent.session);
});

test("who renews and does not confirm is fenced as well", async (t) => {
  const clock = new FakeClock();
  const harness = await MetaHarness.start(t, { clock });
  const [writer, stubborn] = [await harness.client(), await harness.client()];
  const ino = await writer.create(1, "f");
  await stubborn.lookup(1, "f");
  stubborn.confirms = false;
  const changed = chmod(writer, ino, 0o600);
  await stubborn.until(() => stubborn.recalls.length > 0);
  await pass(clock, harness.deadlines.leaseMs, [writer, stubborn]);
  t.equal(await stateOf(changed), "waiting");
  await clock.advance(harness.deadlines.leaseMarginMs + 1_000);
  await changed;
});

test("a broken stream does not end a session, and what it was asked for is asked again", async (t) => {
  const clock = new FakeClock();
  const harness = await MetaHarness.start(t, { clock });
  const [writer, reader] = [await harness.client(), await harness.client()];
  const ino = await writer.create(1, "f", { open: true });
  await reader.lookup(1, "f");
  reader.close();
  await reader.untilClosed();
  const changed = chmod(writer, ino, 0o600);
  await pass(clock, 5_000, [writer]);
  t.equal(await stateOf(changed), "waiting");
  const next = await harness.client({ session: reader.session, replayDone: true });
  t.equal(next.session, reader.session);
  await changed;
  t.match(next.recalls, [{ inodes: [{ ino }] }]);
});

test("nobody is fenced for what the daemon did not read while it stood still (D39)", async (t) => {
  const clock = new FakeClock();
  const harness = await MetaHarness.start(t, { clock });
  const client = await harness.client();
  clock.stall(60_000);
  await clock.advance(1_000);
  t.equal((await client.call("renew", { replayDone: false })) !== undefined, true);
  await pass(clock, 20_000, [client]);
  t.equal(client.closedBy, undefined);
  await clock.advance(60_000);
  t.equal((await client.untilClosed()).errno, "EIO", "but for real silence");
});

test("two sessions that work in one folder do so without a recall for each operation, and nobody is fenced", async (t) => {
  // Every so many seconds they try a lease again; how many those are is the machine's affair.
  const harness = await MetaHarness.start(t, { clock: new FakeClock() });
  const clients = [await harness.client(), await harness.client()];
  const dir = await clients[0]?.create(1, "shared", { mode: 0o040777 });
  const work = async (client: RawClient, tag: string) => {
    for (let i = 0; i < 300; i++) {
      const name = `${tag}${i}`;
      const ino = await client.create(dir ?? 0, name);
      const found = await client.lookup(dir ?? 0, name);
      if (found.attr?.ino !== ino) throw new Error("its own file is another one");
      if (!found.cached || !found.entryCached) throw new Error("nobody else uses it, so it may be cached");
      await client.call("getattr", { ino: dir ?? 0 });
      if (i % 2 === 0) resultOf("unlink", await client.unlink(dir ?? 0, name));
    }
  };
  await Promise.all(clients.map((client, i) => work(client, `c${i}-`)));
  t.equal((await clients[0]?.names(dir ?? 0))?.length, 300);
  for (const client of clients) {
    t.equal(client.closedBy, undefined);
    t.ok(client.recalls.length < 30, `${client.recalls.length} recalls for 1,050 changes`);
  }
});

test("a folder that several sessions change is told without a lease; who changes its mode waits until none shows the old one", async (t) => {
  const clock = new FakeClock();
  const harness = await MetaHarness.start(t, { clock });
  const [one, two] = [await harness.client(), await harness.client()];
  const dir = await one.create(1, "shared", { mode: 0o040777 });
  await two.call("getattr", { ino: dir });
  t.equal((await one.call("getattr", { ino: dir })).shownMs, 0, "one alone may cache it");
  await two.create(dir, "sub", { mode: 0o040777 });
  t.match(await one.call("getattr", { ino: dir }), { cached: false, shownMs: harness.deadlines.sharedFolderMs });
  const { changed } = resultOf("make", await one.answer(one.send(one.make(dir, "g"))));
  t.match(changed, { attrs: [], shared: [{ ino: dir }], shownMs: harness.deadlines.sharedFolderMs });
  const changing = chmod(two, dir, 0o700);
  // Behind the change on the same stream: once it is answered, the change has run, and counts the time.
  await two.call("renew", { replayDone: false });
  t.equal(await stateOf(changing), "waiting");
  await clock.advance(harness.deadlines.sharedFolderMs);
  await changing;
  t.equal((await one.call("getattr", { ino: dir })).attr?.mode, 0o40700);
});

test("goodbye ends a session at once, and its open files with it", async (t) => {
  const harness = await MetaHarness.start(t);
  const [one, two] = [await harness.client(), await harness.client()];
  const ino = await one.create(1, "f", { open: true });
  t.equal((await two.unlink(1, "f")).errno, "");
  t.equal((await two.ask("getattr", { ino })).errno, "", "open elsewhere");
  await one.call("goodbye", {});
  for (;;) if ((await two.ask("getattr", { ino })).errno === "ESTALE") break;
  const late = await harness.client(false);
  t.not((await late.attach({ session: one.session })).session, one.session);
  t.equal((await harness.status()).inodes, 1);
});

test("who has a file open by its declaration alone stores nothing before what others wrote until they heard of that", async (t) => {
  const harness = await MetaHarness.start(t);
  const one = await harness.client();
  const ino = await one.create(1, "f", { open: true, access: 6 });
  const append = (client: RawClient, text: string) => {
    const slice = { pos: 0, len: text.length, chunk: 0, off: 0, inline: Buffer.from(text) };
    const what = {
      slices: [{ slot: 0, slice }],
      sizeAtLeast: 0,
      mtime: undefined,
      truncSeq: 0,
      append: true,
      sync: false,
    };
    return client.call("commit", { ino, ...what, set: undefined, setAt: undefined });
  };
  one.confirms = false;
  const two = await harness.client({ session: 999, open: [{ ino, count: 1, writers: 1 }] });
  await one.until(() => one.recalls.length > 0);
  await two.until(() => two.recalls.length > 0);
  const late = append(two, "late");
  t.equal(await stateOf(late), "waiting");
  t.equal((await append(one, "early")).attr?.size, 5, "what it wrote before is stored for that");
  one.confirms = true;
  for (const { number } of one.recalls) one.confirm(number);
  t.equal((await late).attr?.size, 9);
});

test("what is open in a session that was given up is open in the one that follows it", async (t) => {
  const harness = await MetaHarness.start(t);
  const [one, two] = [await harness.client(), await harness.client()];
  const ino = await one.create(1, "f", { open: true });
  await one.call("goodbye", {});
  const next = await harness.client({ session: one.session, open: [{ ino, count: 2, writers: 0 }] });
  t.not(next.session, one.session);
  t.equal((await two.unlink(1, "f")).errno, "");
  t.equal((await next.ask("getattr", { ino })).errno, "");
  next.send({ $case: "close", value: { ino, count: 2, writers: 0 } }, { id: 0 });
  for (;;) if ((await two.ask("getattr", { ino })).errno === "ESTALE") break;
});

test("the last close of a file without a name removes it", async (t) => {
  const harness = await MetaHarness.start(t);
  const [one, two] = [await harness.client(), await harness.client()];
  const ino = await one.create(1, "f", { open: true });
  await two.call("open", { ino, access: 4, truncate: false });
  await one.unlink(1, "f");
  one.send({ $case: "close", value: { ino, count: 1, writers: 0 } }, { id: 0 });
  t.equal((await one.ask("getattr", { ino })).errno, "");
  t.equal((await one.ask("open", { ino, access: 4, truncate: false })).errno, "", "by inode it opens still");
  one.send({ $case: "close", value: { ino, count: 1, writers: 0 } }, { id: 0 });
  two.send({ $case: "close", value: { ino, count: 1, writers: 0 } }, { id: 0 });
  for (;;) if ((await two.ask("getattr", { ino })).errno === "ESTALE") break;
  t.pass("gone");
});

test("the watermark is pushed to a session that waits for it, with the echo of its clock", async (t) => {
  const harness = await MetaHarness.start(t);
  const client = await harness.client();
  await client.create(1, "first");
  harness.gates.close("before commit");
  const made = await client.answer(client.send(client.make(1, "f"), { clockMs: 4711 }));
  t.ok(made.stamp !== undefined && made.stamp.batch > made.durable);
  t.equal(made.echoMs, 4711);
  harness.gates.open();
  await client.until(() => client.frames.some((frame) => frame.id === 0 && frame.durable >= (made.stamp?.batch ?? 0)));
  t.pass("told");
});

test("fsync is answered when everything that the session was told is on disk", async (t) => {
  const harness = await MetaHarness.start(t);
  const client = await harness.client();
  const ino = await client.create(1, "f");
  harness.gates.close("before commit");
  const made = await client.answer(client.send(client.make(1, "g")));
  const synced = client.ask("fsync", { ino });
  t.equal(await stateOf(synced), "waiting");
  harness.gates.open();
  t.ok((await synced).durable >= (made.stamp?.batch ?? Infinity));
});

test("when a commit fails nothing is told any more, health is red, and the daemon ends with the reason", async (t) => {
  const harness = await MetaHarness.start(t, { http: "127.0.0.1:0" });
  const client = await harness.client();
  await client.create(1, "first");
  harness.gates.close("before commit");
  const made = await client.answer(client.send(client.make(1, "f")));
  const synced = client.send({ $case: "fsync", value: { ino: 1 } });
  await stateOf(Promise.resolve());
  harness.gates.failCommit = new Error("the disk is full");
  harness.gates.open();
  await client.untilClosed();
  t.match(await harness.running.ended, { message: "the disk is full" });
  t.notOk(
    client.frames.some((frame) => frame.id === synced),
    "neither success nor an error",
  );
  t.notOk(client.frames.some((frame) => frame.durable >= (made.stamp?.batch ?? 0)));
});

test("operations on names tell of the folders and nodes that they changed, unless others share them", async (t) => {
  const clock = new FakeClock();
  const harness = await MetaHarness.start(t, { clock });
  const [client, other] = [await harness.client(), await harness.client()];
  const told = (frame: ServerFrame) => {
    const value = frame.op?.value as { changed?: Changed } | undefined;
    return (value?.changed?.attrs ?? []).map(({ ino, nlink }) => [ino, nlink]).sort(([a = 0], [b = 0]) => a - b);
  };
  const send = async (op: ClientFrame["op"]) => told(await client.answer(client.send(op)));
  const made = await client.answer(client.send(client.make(1, "sub", { mode: 0o40755 })));
  const sub = resultOf("make", made).attr?.ino ?? 0;
  t.same(told(made), [[1, 3]]);
  const ino = await client.create(1, "f");
  t.same(await send({ $case: "link", value: { ino, dir: sub, name: Buffer.from("g") } }), [[sub, 2]]);
  const names = { fromDir: 1, fromName: Buffer.from("f"), intoDir: sub, intoName: Buffer.from("h") };
  t.same(await send({ $case: "rename", value: { ...names, noReplace: false, exchange: false } }), [
    [1, 3],
    [sub, 2],
    [ino, 2],
  ]);
  t.same(told(await client.unlink(sub, "h")), [
    [sub, 2],
    [ino, 1],
  ]);
  await other.call("getattr", { ino: sub });
  t.match(client.recalls, [{ inodes: [{ ino: sub }] }], "it was nobody else's");
  await client.call("getattr", { ino: sub });
  await chmod(other, sub, 0o700);
  t.match(client.recalls.slice(1), [{ inodes: [{ ino: sub }] }], "they may be cached, so they are recalled");
  t.same(told(await client.unlink(sub, "g")), [], "one is shared now, the other is gone");
  t.same(await send({ $case: "rmdir", value: { dir: 1, name: Buffer.from("sub") } }), [[1, 2]]);
});
