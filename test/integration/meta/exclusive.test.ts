import { test } from "tap";
import { FakeClock } from "../../helpers/fake-clock.js";
import { MetaHarness, resultOf, stateOf, type RawClient } from "../../helpers/meta-harness.js";

/** Later than what the tests do before. */
const NOW = { sec: Math.floor(Date.now() / 1000) + 60, nsec: 5 };
const STAMP = { now: NOW, inos: [], order: 0, batch: 0 };

async function folder(client: RawClient, name: string): Promise<{ ino: number; exclusive: boolean }> {
  const { attr, exclusive } = resultOf(
    "make",
    await client.answer(client.send(client.make(1, name, { mode: 0o040777 }))),
  );
  return { ino: attr?.ino ?? 0, exclusive };
}

async function isExclusive(client: RawClient, dir: number, name: string): Promise<boolean> {
  return (await client.lookup(dir, name)).exclusive;
}

test("a new folder is its maker's alone, and what is made in it; others see it when that is given back", async (t) => {
  const harness = await MetaHarness.start(t);
  const [owner, other] = [await harness.client(), await harness.client()];
  const { ino: dir, exclusive } = await folder(owner, "d");
  t.ok(exclusive);
  const file = await owner.create(dir, "f");
  t.ok(await isExclusive(owner, dir, "f"));
  t.ok(await isExclusive(owner, 1, "d"));
  await owner.create(1, "r");
  t.notOk(await isExclusive(owner, 1, "r"), "in a folder that is everybody's");
  owner.confirms = false;
  const asked = {
    lookup: other.lookup(1, "d"),
    getattr: other.call("getattr", { ino: dir }),
    child: other.call("getattr", { ino: file }),
    list: other.call("readdir", { dir, after: 0, limit: 0, withAttrs: true }),
    make: other.answer(other.send(other.make(dir, "g"))),
    open: other.call("open", { ino: file, access: 4, truncate: false }),
  };
  await owner.until(() => owner.recalls.length > 0);
  for (const [what, answer] of Object.entries(asked)) t.equal(await stateOf(answer), "waiting", what);
  t.match(owner.recalls, [{ inodes: [{ ino: dir }], entries: [] }], "once for all");
  // Told to its own user already.
  await owner.answer(owner.send({ $case: "unlink", value: { dir, name: Buffer.from("f") } }, { replay: STAMP }));
  owner.confirm(owner.recalls[0]?.number ?? 0);
  owner.confirms = true;
  t.match((await asked.getattr).attr?.mtime, { sec: NOW.sec }, "what was done, at the time when it was told");
  for (const gone of [asked.child, asked.open] as Promise<unknown>[]) await t.rejects(gone, { message: "ESTALE" });
  t.match(await asked.lookup, { attr: { ino: dir }, exclusive: false });
  t.same(
    (await asked.list).entries.filter(({ name }) => name.toString() === "f"),
    [],
  );
  t.equal((await asked.make).errno, "");
});

test("a folder that is listed is exclusive when no other session caches it; of what is open elsewhere that is not said", async (t) => {
  const clock = new FakeClock();
  const harness = await MetaHarness.start(t, { clock });
  const [maker, owner] = [await harness.client(), await harness.client()];
  const { ino: dir } = await folder(maker, "d");
  const inos = [await maker.create(dir, "open"), await maker.create(dir, "cached"), await maker.create(dir, "free")];
  const list = () => owner.call("readdir", { dir, after: 0, limit: 0, withAttrs: true });
  await owner.call("getattr", { ino: dir });
  t.equal((await list()).exclusive, false, "the maker has leases of its names");
  await maker.call("goodbye", {});
  const other = await harness.client();
  await other.call("open", { ino: inos[0] ?? 0, access: 4, truncate: false });
  const { nextId: oldestOpen } = other;
  other.send({ $case: "forget", value: { inos: inos.slice(0, 1) } }, { id: 0, oldestOpen });
  await other.call("getattr", { ino: inos[1] ?? 0 });
  t.equal((await list()).exclusive, false, "somebody has looked at it a moment ago");
  await clock.advance(2_000);
  await owner.call("getattr", { ino: dir });
  const { exclusive, entries } = await list();
  t.ok(exclusive);
  const reader = await harness.client({ readOnly: true });
  await reader.call("getattr", { ino: 1 });
  t.notOk((await reader.call("readdir", { dir: 1, after: 0, limit: 0, withAttrs: true })).exclusive, "of no use to it");
  t.same(
    entries.map((entry) => [entry.name.toString(), entry.exclusive]),
    [
      ["open", false],
      ["cached", false],
      ["free", true],
    ],
  );
});

test("what was told and never answered comes before what others asked for, when the daemon was killed", async (t) => {
  const harness = await MetaHarness.start(t);
  const [owner, other] = [await harness.client(), await harness.client()];
  const { ino: dir } = await folder(owner, "d");
  await owner.create(dir, "f");
  for (const client of [owner, other]) await client.untilDurable();
  await harness.kill();
  await harness.start();
  const back = async (client: RawClient): Promise<RawClient> => {
    const next = await harness.client(false);
    next.nextId = client.nextId;
    await next.attach({ session: client.session });
    return next;
  };
  const next = { owner: await back(owner), other: await back(other) };
  const made = next.other.answer(next.other.send(next.other.make(dir, "f"), { again: true }));
  next.other.send({ $case: "renew", value: { replayDone: true } });
  const unlink = { $case: "unlink", value: { dir, name: Buffer.from("f") } } as const;
  const removed = next.owner.answer(next.owner.send(unlink, { again: true, replay: STAMP }));
  t.equal((await removed).errno, "");
  t.equal(await stateOf(made), "waiting");
  next.owner.send({ $case: "renew", value: { replayDone: true } });
  t.equal((await made).errno, "", "the name is free by then");
});

test("what was told to be made is made once, with the inode and at the time that were told", async (t) => {
  const harness = await MetaHarness.start(t);
  const owner = await harness.client();
  const { ino: dir } = await folder(owner, "d");
  const { first, count } = await owner.call("inodes", { count: 1000 });
  t.equal(count, 256);
  const told = (ino: number) => ({ replay: { ...STAMP, inos: [ino] } });
  const make = (client: RawClient, name: string, more: object) =>
    client.answer(client.send(client.make(dir, name, { mode: 0o040755 }), more));
  const frame = await make(owner, "a", told(first));
  t.match(resultOf("make", frame), { attr: { ino: first, btime: NOW, mtime: NOW }, cached: true, exclusive: true });
  t.same(frame.stamp?.inos, [first]);
  t.equal((await make(owner, "b", told(first))).errno, "EIO", "an id is used once");
  t.equal((await make(owner, "b", told(2 ** 50))).errno, "EIO", "nor is one that was never given");
  t.equal((await make(owner, "a", told(first + 1))).errno, "EEXIST");
  const after = (await owner.call("getattr", { ino: dir })).attr;
  t.match(after, { nlink: 3, mtime: NOW });
  t.notOk((await owner.create(dir, "own")) < first + count, "the daemon's own ids are others");
  await owner.untilDurable();
  const { nextId } = owner;
  const unheard = make(owner, "c", told(first + 2));
  unheard.catch(() => {});
  await harness.kill();
  await harness.start();
  const back = await harness.client(false);
  back.nextId = nextId + 1;
  await back.attach({ session: owner.session });
  const again = back.answer(
    back.send(back.make(dir, "c", { mode: 0o040755 }), { id: nextId, again: true, ...told(first + 2) }),
  );
  t.match(resultOf("make", await again), { attr: { ino: first + 2, mtime: NOW } });
  back.send({ $case: "renew", value: { replayDone: true } });
  t.same((await back.names(dir)).sort(), ["a", "c", "own"]);
  const next = await back.call("inodes", { count: 1 });
  t.ok(next.count === 1 && next.first >= first + count, "what is left of a range is never given again");
});

test("sessions that wait for each other's folders, or for one that is silent, come back on new streams at once", async (t) => {
  // Time stands still: nobody's lease ends.
  const harness = await MetaHarness.start(t, { clock: new FakeClock() });
  const [a, b, c] = [await harness.client(), await harness.client(), await harness.client()];
  const [inA, inB] = [(await folder(a, "A")).ino, (await folder(b, "B")).ino];
  a.confirms = b.confirms = false;
  a.send({ $case: "lookup", value: { dir: inB, name: Buffer.from("g") } });
  b.send({ $case: "lookup", value: { dir: inA, name: Buffer.from("f") } });
  c.send({ $case: "getattr", value: { ino: inA } });
  await a.until(() => a.recalls.length > 0);
  await b.until(() => b.recalls.length > 0);
  for (const client of [a, b, c]) {
    client.close();
    await client.untilClosed();
  }
  for (const client of [c, a, b]) {
    const next = await harness.client(false);
    t.match(await next.attach({ session: client.session }), { session: client.session, resumed: true });
  }
});

test("times of a folder do not go back when what was told later is carried out first", async (t) => {
  const harness = await MetaHarness.start(t);
  const owner = await harness.client();
  const { ino: dir } = await folder(owner, "d");
  for (const file of ["f", "g"]) await owner.create(dir, file);
  const sec = Math.floor(Date.now() / 1000);
  for (const [file, at] of [
    ["g", sec + 20],
    ["f", sec + 10],
  ] as const) {
    const replay = { now: { sec: at, nsec: 0 }, inos: [], order: 0, batch: 0 };
    await owner.ask("unlink", { dir, name: Buffer.from(file) }, { replay });
  }
  t.equal((await owner.call("getattr", { ino: dir })).attr?.mtime?.sec, sec + 20);
});

test("times of a folder do not go back behind what a clock told that is a little ahead, and do behind one that is wrong", async (t) => {
  const clock = new FakeClock();
  const harness = await MetaHarness.start(t, { clock });
  const owner = await harness.client();
  const { ino: dir } = await folder(owner, "d");
  const { first } = await owner.call("inodes", { count: 9 });
  const { sec, nsec } = clock.now();
  const mtimeAfter = async (name: string) => {
    await owner.create(dir, name);
    return (await owner.call("getattr", { ino: dir })).attr?.mtime;
  };
  const tell = async (name: string, now: { sec: number; nsec: number }, ino: number) => {
    await owner.answer(owner.send(owner.make(dir, name), { replay: { now, inos: [ino], order: 0, batch: 0 } }));
  };
  const near = { sec, nsec: nsec + 90_000_000 };
  await tell("told", near, first);
  t.same(await mtimeAfter("asked"), near);
  await tell("later", { sec: sec + 1, nsec }, first + 1);
  t.same(await mtimeAfter("then"), { sec, nsec });
});
