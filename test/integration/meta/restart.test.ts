import { test } from "tap";
import { MetaHarness, again, resultOf, stateOf, type RawClient } from "../../helpers/meta-harness.js";
import { FakeClock } from "../../helpers/fake-clock.js";
import { Commit, type ServerFrame } from "../../../proto/gen/bigfs/v1/meta.js";

/** A stream of the same session on the daemon that runs now; ids go on. */
async function back(harness: MetaHarness, client: RawClient, attach: object = {}): Promise<RawClient> {
  const next = await harness.client(false);
  next.nextId = client.nextId;
  const attached = await next.attach({ session: client.session, ...attach });
  if (attached.session !== client.session) throw new Error("fenced");
  return next;
}

test("what was answered and not durable is repeated with the same ids and times, once", async (t) => {
  const harness = await MetaHarness.start(t);
  const client = await harness.client();
  await client.create(1, "before");
  await client.untilDurable();
  harness.gates.close("before commit");
  const dirFrame = await client.answer(client.send(client.make(1, "dir", { mode: 0o040755 })));
  const dir = resultOf("make", dirFrame).attr?.ino ?? 0;
  const fileFrame = await client.answer(client.send(client.make(dir, "file")));
  const file = resultOf("make", fileFrame).attr;
  const unlinkFrame = await client.unlink(1, "before");
  t.ok(fileFrame.stamp !== undefined && fileFrame.stamp.batch > client.durable, "visible only");
  await harness.kill();

  await harness.start();
  t.equal((await harness.status()).phase, "reconnect");
  const next = await back(harness, client);
  t.equal(next.attached?.resumed, true);
  t.equal((await harness.status()).phase, "replay");
  // Sent in one go: the second needs what the first makes.
  const sent = [dirFrame, fileFrame].map((frame, i) =>
    next.send(i === 0 ? next.make(1, "dir", { mode: 0o040755 }) : next.make(dir, "file"), again(frame)),
  );
  next.send({ $case: "unlink", value: { dir: 1, name: Buffer.from("before") } }, again(unlinkFrame));
  next.send({ $case: "renew", value: { replayDone: true } });
  const replayed = await Promise.all(sent.map((id) => next.answer(id)));
  t.equal(resultOf("make", replayed[0] as never).attr?.ino, dir);
  t.same({ ...resultOf("make", replayed[1] as never).attr, version: 0 }, { ...file, version: 0 });
  await next.until(() => next.frames.some((frame) => frame.op?.$case === "served"));
  t.same(await next.names(1), ["dir"]);
  t.same(await next.names(dir), ["file"]);
  t.ok((await next.create(dir, "later")) > (file?.ino ?? 0), "ids are not given again");
});

test("an operation that was committed and not answered is answered, not done again", async (t) => {
  const harness = await MetaHarness.start(t);
  const client = await harness.client();
  const renamed = { fromDir: 1, fromName: Buffer.from("a"), intoDir: 1, intoName: Buffer.from("b") };
  const rename = { $case: "rename", value: { ...renamed, noReplace: true, exchange: false } } as const;
  await client.create(1, "a");
  const frame = await client.answer(client.send(rename));
  await client.untilDurable();
  await harness.kill();

  await harness.start();
  const next = await back(harness, client);
  // The client never saw the answer: no stamp.
  next.send(rename, { id: frame.id, again: true });
  next.send({ $case: "renew", value: { replayDone: true } });
  const second = await next.answer(frame.id);
  t.equal(second.errno, "", "a second run would be ENOENT");
  t.equal(second.stamp?.batch, 0);
  t.same(second.stamp?.now, frame.stamp?.now);
  t.same(await next.names(1), ["b"]);
});

test("what was neither answered nor committed is done after what was answered", async (t) => {
  const harness = await MetaHarness.start(t);
  const client = await harness.client();
  await client.create(1, "first");
  harness.gates.close("before commit");
  const made = await client.answer(client.send(client.make(1, "dir", { mode: 0o040755 })));
  const dir = resultOf("make", made).attr?.ino ?? 0;
  await harness.kill();

  await harness.start();
  const next = await back(harness, client);
  const replayed = next.send(next.make(1, "dir", { mode: 0o040755 }), again(made));
  const unanswered = next.send(next.make(dir, "new"), { again: true });
  next.send({ $case: "renew", value: { replayDone: true } });
  t.equal((await next.answer(replayed)).errno, "");
  t.equal((await next.answer(unanswered)).errno, "");
  t.same(await next.names(dir), ["new"]);
});

test("nobody is served before all known sessions are back or their leases are over", async (t) => {
  const clock = new FakeClock();
  const harness = await MetaHarness.start(t, { clock });
  const here = await harness.client();
  const gone = await harness.client();
  await here.create(1, "first");
  await here.untilDurable();
  harness.gates.close("before commit");
  const lost = await gone.answer(gone.send(gone.make(1, "seen only by the one who is gone")));
  t.equal(lost.errno, "");
  await harness.kill();

  await harness.start();
  const next = await back(harness, here, { replayDone: true });
  const listed = next.names(1);
  t.equal(await stateOf(listed), "waiting");
  await clock.advance(harness.deadlines.leaseMs);
  t.equal(await stateOf(listed), "waiting");
  next.send({ $case: "renew", value: { replayDone: false } });
  await next.answer(next.nextId - 1);
  await clock.advance(harness.deadlines.leaseMarginMs + 1_000);
  t.same(await listed, ["first"]);
  const late = await harness.client(false);
  const attached = await late.attach({ session: gone.session });
  t.not(attached.session, gone.session, "fenced");
  t.equal(attached.resumed, false);
});

test("a change that was never answered is not answered while somebody who may have cached it is away", async (t) => {
  const harness = await MetaHarness.start(t);
  const one = await harness.client();
  const two = await harness.client();
  await one.create(1, "f");
  t.equal((await two.lookup(1, "f")).cached, true);
  await one.untilDurable();
  await harness.kill();

  await harness.start();
  const oneBack = await back(harness, one);
  const setattr = { ino: 1, mode: 0o700, atime: undefined, mtime: undefined, atimeNow: false, mtimeNow: false };
  const id = oneBack.send({ $case: "setattr", value: setattr }, { again: true });
  oneBack.send({ $case: "renew", value: { replayDone: true } });
  const answered = oneBack.answer(id);
  t.equal(await stateOf(answered), "waiting");
  await back(harness, two, { replayDone: true });
  t.equal((await answered).errno, "");
});

test("what nobody was told of is done after everything that others were told of", async (t) => {
  const harness = await MetaHarness.start(t);
  const [first, second] = [await harness.client(), await harness.client()];
  await first.create(1, "before");
  await first.untilDurable();
  harness.gates.close("before commit");
  const told = await first.answer(first.send(first.make(1, "lock", { mode: 0o040755 })));
  t.equal(told.errno, "");
  const asked = second.send(second.make(1, "lock", { mode: 0o040755 }));
  t.equal(await stateOf(second.answer(asked)), "waiting", "not shown before it is durable");
  await harness.kill();

  await harness.start();
  const secondBack = await back(harness, second);
  secondBack.send(secondBack.make(1, "lock", { mode: 0o040755 }), { id: asked, again: true });
  secondBack.send({ $case: "renew", value: { replayDone: true } });
  t.equal(await stateOf(secondBack.answer(asked)), "waiting");
  const firstBack = await back(harness, first);
  firstBack.send(firstBack.make(1, "lock", { mode: 0o040755 }), again(told));
  firstBack.send({ $case: "renew", value: { replayDone: true } });
  t.equal((await firstBack.answer(told.id)).errno, "", "it was told so before");
  t.equal((await secondBack.answer(asked)).errno, "EEXIST");
});

test("a stream that ends while its replay runs is waited for again", async (t) => {
  const harness = await MetaHarness.start(t);
  const client = await harness.client();
  await client.create(1, "before");
  await client.untilDurable();
  harness.gates.close("before commit");
  const told: ServerFrame[] = [];
  for (const name of ["one", "two"]) told.push(await client.answer(client.send(client.make(1, name))));
  await harness.kill();

  await harness.start();
  const replay = (stream: RawClient) => {
    for (const [i, frame] of told.entries()) stream.send(stream.make(1, i === 0 ? "one" : "two"), again(frame));
    stream.send({ $case: "renew", value: { replayDone: true } });
  };
  const broken = await back(harness, client);
  t.equal((await harness.status()).phase, "replay");
  harness.gates.close("before load");
  replay(broken);
  t.equal(await stateOf(broken.answer(told[0]?.id ?? 0)), "waiting");
  broken.close();
  while ((await harness.status()).sessions.some((session) => session.connected));
  harness.gates.open();
  const other = await harness.client();
  const listed = other.names(1);
  t.equal(await stateOf(listed), "waiting");
  replay(await back(harness, client));
  t.same(await listed, ["before", "one", "two"]);
});

test("files that are open somewhere outlive a restart without their name", async (t) => {
  const harness = await MetaHarness.start(t);
  const one = await harness.client();
  const two = await harness.client();
  const ino = await one.create(1, "f", { open: true });
  await one.untilDurable();
  harness.gates.close("before commit");
  const unlinked = await one.unlink(1, "f");
  const twoOpened = two.ask("open", { ino, access: 4, truncate: false });
  t.equal(await stateOf(twoOpened), "waiting", "not shown before it is durable");
  harness.gates.open();
  t.equal((await twoOpened).errno, "");
  await harness.kill();

  await harness.start();
  const oneBack = await back(harness, one);
  // Not durable as far as it knows; it has closed the file since, and the other has not come back yet.
  oneBack.send({ $case: "unlink", value: { dir: 1, name: Buffer.from("f") } }, again(unlinked));
  oneBack.send({ $case: "renew", value: { replayDone: true } });
  t.equal((await oneBack.answer(unlinked.id)).errno, "");
  const twoBack = await back(harness, two, { open: [{ ino, count: 1, writers: 0 }], replayDone: true });
  t.equal((await twoBack.ask("getattr", { ino })).errno, "");
  twoBack.send({ $case: "close", value: { ino, count: 1, writers: 0 } }, { id: 0 });
  await twoBack.until(() => true);
  await t.resolves(untilGone(twoBack, ino));
});

test("replies are forgotten when the client needs them no more", async (t) => {
  const harness = await MetaHarness.start(t);
  const client = await harness.client();
  for (let i = 0; i < 20; i++) await client.create(1, `f${i}`);
  await client.untilDurable();
  client.oldestOpen = client.nextId;
  await client.call("renew", { replayDone: false });
  await client.call("fsync", { ino: 1 });
  await harness.stop();
  await harness.start();
  const next = await back(harness, client);
  const second = next.send(next.make(1, "f3"), { id: 5, again: true });
  next.send({ $case: "renew", value: { replayDone: true } });
  t.equal((await next.answer(second)).errno, "EEXIST", "it runs, for nothing is stored");
});

test("bytes in the metadata are like names: answered before they are durable, and repeated", async (t) => {
  const harness = await MetaHarness.start(t);
  const client = await harness.client();
  const ino = await client.create(1, "f");
  await client.untilDurable();
  harness.gates.close("before commit");
  const slice = { pos: 0, len: 4, chunk: 0, off: 0, inline: Buffer.from("data") };
  const value = Commit.create({ ino, slices: [{ slot: 0, slice }], sizeAtLeast: 4 });
  const tiny = await client.ask("commit", { ...value, sync: false });
  t.ok(tiny.stamp !== undefined && tiny.stamp.batch > tiny.durable, "visible only");
  const synced = client.ask("commit", { ...value, sync: true });
  t.equal(await stateOf(synced), "waiting", "not so when it is asked to be on disk");
  await harness.kill();

  await harness.start();
  const next = await back(harness, client);
  const repeated = next.send({ $case: "commit", value: { ...value, sync: false } }, again(tiny));
  next.send({ $case: "renew", value: { replayDone: true } });
  t.same(
    { ...resultOf("commit", await next.answer(repeated)).attr },
    { ...resultOf("commit", tiny).attr },
    "with the same times",
  );
  t.equal(Buffer.concat(await contentOf(next, ino)).toString(), "data");
});

test("a copy is answered when it is durable, because others may then change what it was copied from", async (t) => {
  const harness = await MetaHarness.start(t);
  const client = await harness.client();
  const [from, into] = [await client.create(1, "from"), await client.create(1, "into")];
  const slice = { pos: 0, len: 4, chunk: 0, off: 0, inline: Buffer.from("data") };
  await client.call("commit", Commit.create({ ino: from, slices: [{ slot: 0, slice }], sizeAtLeast: 4 }));
  await client.untilDurable();
  harness.gates.close("before commit");
  const copied = client.ask("copyrange", { fromIno: from, fromOff: 0, intoIno: into, intoOff: 0, len: 4 });
  t.equal(await stateOf(copied), "waiting");
  harness.gates.open();
  const answer = await copied;
  t.equal(resultOf("copyrange", answer).copied, 4);
  t.ok(answer.durable >= (answer.stamp?.batch ?? Infinity));
});

async function untilGone(client: RawClient, ino: number): Promise<void> {
  for (;;) if ((await client.ask("getattr", { ino })).errno === "ESTALE") return;
}

async function contentOf(client: RawClient, ino: number): Promise<Buffer[]> {
  const answer = resultOf("slots", await client.ask("slots", { ino, first: 0, count: 1 }));
  return answer.slots.flatMap((slot) => slot.slices.map(({ inline }) => inline));
}
