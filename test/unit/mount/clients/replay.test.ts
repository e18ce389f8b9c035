import { test } from "tap";
import type { ClientFrame } from "../../../../proto/gen/bigfs/v1/meta.js";
import { FakeClock } from "../../../helpers/fake-clock.js";
import { ROOT, connected, dies, mkdir, nameOfMake, passing, reconnecting, turns } from "./scripted-meta.js";

test("after a restart what was not durable is repeated in order of execution, then what was not answered, then new", async (t) => {
  const clock = new FakeClock();
  const { meta, client, events } = await connected(t, { clock });
  // Executed in another order than asked: c, a, b; d is on disk, e and f were never answered.
  const asked = ["a", "b", "c", "d", "e", "f"].map((name) => mkdir(client, name));
  const frames = await meta.some("make", 6);
  meta.done(frames[3], 1, 1);
  meta.durable = 1;
  meta.done(frames[2], 2, 2);
  meta.done(frames[0], 3, 2);
  meta.done(frames[1], 4, 3);
  await Promise.all(asked.slice(0, 4));
  let drop = () => {};
  events.dropped = () => new Promise((resolve) => (drop = resolve));
  events.open = [{ ino: 5, count: 2, writers: 1 }];
  await dies(clock, meta);
  const late = mkdir(client, "late");
  meta.durable = 0;
  meta.attach = () => ({ session: 11, resumed: true });
  await meta.start(t);
  const again = await reconnecting(clock, meta.some("make", 5));
  await turns();
  t.match(meta.attaches.at(-1)?.op, {
    value: { session: 11, open: [{ ino: 5, count: 2, writers: 1 }], replayDone: false },
  });
  t.same(again.map(nameOfMake), ["c", "a", "b", "e", "f"]);
  t.same(
    again.map(({ id }) => id),
    [frames[2], frames[0], frames[1], frames[4], frames[5]].map((frame) => frame?.id),
  );
  t.same(
    again.map(({ replay }) => replay?.order),
    [2, 3, 4, undefined, undefined],
  );
  t.same(again[0]?.replay?.inos, [102]);
  t.ok(again.every((frame) => frame.again && frame.cred?.checked === true));
  t.equal(meta.of("renew").length, 0, "the replay is not over while caches may be in use");
  t.same(events.log, ["uncached"]);
  drop();
  await meta.some("renew");
  const all = await meta.some("make", 6);
  t.equal(nameOfMake(all[5] ?? meta.attaches[0]!), "late");
  t.notOk(all[5]?.again);
  t.match(meta.of("renew")[0]?.op, { value: { replayDone: true } });
  t.ok(meta.heard.indexOf(meta.of("renew")[0]!) < meta.heard.indexOf(all[5]!));
  for (const [i, frame] of all.entries()) meta.done(frame, i + 1, 1);
  await Promise.all([...asked, late]);
});

test("oldest_open is the lowest id that is not both answered and durable", async (t) => {
  const { meta, client } = await connected(t);
  const asked = ["a", "b"].map((name) => mkdir(client, name));
  const [a, b] = await meta.some("make", 2);
  t.equal(b?.oldestOpen, a?.id);
  meta.done(a, 1, 5);
  meta.done(b, 2, 6);
  await Promise.all(asked);
  const c = mkdir(client, "c");
  t.equal((await meta.some("make", 3))[2]?.oldestOpen, a?.id, "answered, not durable");
  meta.durable = 5;
  meta.done((await meta.some("make", 3))[2], 3, 7);
  await c;
  const d = mkdir(client, "d");
  t.equal((await meta.some("make", 4))[3]?.oldestOpen, b?.id);
  meta.send({ durable: 7 });
  meta.done((await meta.some("make", 4))[3], 4, 8);
  await d;
  void mkdir(client, "e").catch(() => {});
  const e = (await meta.some("make", 5))[4];
  t.equal(e?.oldestOpen, (await meta.some("make", 4))[3]?.id);
});

test("watermarks of an earlier life of the daemon release nothing, and a second crash repeats all again", async (t) => {
  const { meta, client } = await connected(t);
  const asked = ["a", "b"].map((name) => mkdir(client, name));
  const frames = await meta.some("make", 2);
  meta.durable = 100;
  meta.done(frames[0], 1, 101);
  meta.done(frames[1], 2, 102);
  await Promise.all(asked);
  meta.attach = () => ({ session: 11, resumed: true });
  await meta.stop();
  // The second life counts from the start, and has answered one replay when it dies.
  meta.durable = 0;
  await meta.start(t);
  const second = await meta.some("make", 2);
  meta.durable = 3;
  meta.done(second[0], 1, 4);
  await meta.some("renew");
  const c = mkdir(client, "c");
  meta.done((await meta.some("make", 3))[2], 9, 5);
  await c;
  await meta.stop();
  meta.durable = 200;
  await meta.start(t);
  t.same((await meta.some("make", 3)).map(nameOfMake), ["a", "b", "c"]);
  let isDurable = false;
  const durable = client.durable().then(() => (isDurable = true));
  await turns();
  t.notOk(isDurable, "a watermark above old batch numbers means nothing");
  for (const [i, frame] of (await meta.some("make", 3)).entries()) meta.done(frame, i + 1, 201);
  await turns();
  t.notOk(isDurable);
  meta.send({ durable: 201 });
  await durable;
});

test("a request that changed nothing is not repeated, nor one that failed", async (t) => {
  const { meta, client } = await connected(t);
  const ok = mkdir(client, "changes-nothing");
  const bad = mkdir(client, "fails");
  const frames = await meta.some("make", 2);
  meta.send({
    id: frames[0]?.id ?? 0,
    op: { $case: "make", value: { attr: undefined, cached: false, entryCached: false, exclusive: false } },
  });
  meta.send({ id: frames[1]?.id ?? 0, errno: "EEXIST" });
  await ok;
  await t.rejects(bad, { name: "FsError", errno: "EEXIST" });
  meta.attach = () => ({ session: 11, resumed: true });
  await meta.stop();
  await meta.start(t);
  await meta.some("renew");
  t.same(meta.of("make"), []);
});

test("a broken stream alone: requests without an answer are sent again, each is answered once", async (t) => {
  const { meta, client } = await connected(t);
  meta.attach = () => ({ session: 11, resumed: true });
  const stat = client.call("getattr", { ino: 7 }, ROOT);
  await meta.some("getattr");
  meta.cut();
  const [again] = await meta.some("getattr");
  t.ok(again?.again);
  meta.done(again, 1, 0);
  t.match(await stat, { cached: false });
});

test("requests to a daemon that is away wait, and fail with EIO after ioDeadline; later ones wait as well", async (t) => {
  const clock = new FakeClock();
  const { meta, client } = await connected(t, { clock, deadlines: { ioDeadlineMs: 1_000 } });
  meta.attach = () => ({ session: 11, resumed: true });
  await dies(clock, meta);
  const failed = t.rejects(mkdir(client, "a"), { name: "FsError", errno: "EIO" });
  await passing(clock, failed);
  const later = mkdir(client, "b");
  let isOver = false;
  const over = () => (isOver = true);
  later.then(over, over);
  await clock.advance(900);
  t.notOk(isOver);
  await meta.start(t);
  const [frame] = await reconnecting(clock, meta.some("make"));
  t.equal(nameOfMake(frame!), "b", "what had failed was never sent");
  meta.done(frame, 1, 0);
  await later;
});

test("a request waits a whole ioDeadline from when the daemon went, however long it had waited before", async (t) => {
  const clock = new FakeClock();
  const { meta, client } = await connected(t, { clock, deadlines: { ioDeadlineMs: 1_000 } });
  meta.attach = () => ({ session: 11, resumed: true });
  let isOver = false;
  const over = () => (isOver = true);
  const asked = mkdir(client, "a");
  asked.then(over, over);
  await meta.some("make");
  await clock.advance(900);
  await dies(clock, meta);
  await clock.advance(900);
  t.notOk(isOver);
  await meta.start(t);
  meta.done((await reconnecting(clock, meta.some("make")))[0], 1, 0);
  await asked;
});

test("a daemon that is there and never answers is not waited for without end", async (t) => {
  const clock = new FakeClock();
  const { meta, client } = await connected(t, { clock, deadlines: { ioDeadlineMs: 1_000 } });
  const failed = t.rejects(mkdir(client, "a"), { name: "FsError", errno: "EIO" });
  await meta.some("make");
  const startMs = clock.monotonicMs();
  await passing(clock, failed);
  t.ok(clock.monotonicMs() - startMs >= 2_000);
});

test("what was sent and given up is still repeated: later requests may stand on it", async (t) => {
  const clock = new FakeClock();
  const { meta, client } = await connected(t, { clock, deadlines: { ioDeadlineMs: 1_000 } });
  const failed = t.rejects(mkdir(client, "a"), { name: "FsError", errno: "EIO" });
  await meta.some("make");
  meta.attach = () => ({ session: 11, resumed: true });
  await meta.stop();
  await passing(clock, failed);
  await meta.start(t);
  const [frame] = await reconnecting(clock, meta.some("make"));
  t.ok(frame?.again);
});

test("while too much is not durable new requests wait, until the daemon says that it is", async (t) => {
  const { meta, client } = await connected(t, { clock: new FakeClock() });
  const asked = Array.from({ length: 8192 }, (_, i) => mkdir(client, `d${i}`));
  for (const [i, frame] of (await meta.some("make", 8192)).entries()) meta.done(frame, i + 1, i + 1);
  await Promise.all(asked);
  const waiting = mkdir(client, "waits");
  const [renew] = await meta.some("renew");
  t.match(renew?.op, { value: { durable: true } }, "the daemon is told that somebody waits");
  await turns();
  t.equal(meta.of("make").length, 8192);
  meta.send({ durable: 1 });
  meta.done((await meta.some("make", 8193))[8192], 9000, 0);
  await waiting;
});

test("who waits for durability says so, again after a reconnect, and until all is on disk that he waits for", async (t) => {
  const clock = new FakeClock();
  const { meta, client } = await connected(t, { clock });
  const a = mkdir(client, "a");
  meta.done((await meta.some("make"))[0], 1, 5);
  await a;
  const first = client.durable();
  const second = client.durable();
  const [question] = await meta.some("renew");
  t.match(question?.op, { value: { durable: true } });
  await turns();
  t.equal(meta.of("renew").length, 1, "one question at a time");
  meta.attach = () => ({ session: 11, resumed: true });
  meta.cut();
  const again = (await reconnecting(clock, meta.some("renew", 2)))[1];
  t.match(again?.op, { value: { durable: true } });
  meta.done((await meta.some("make"))[0], 1, 6);
  meta.send({ id: again?.id ?? 0, op: { $case: "renew", value: {} } });
  const third = (await meta.some("renew", 3))[2];
  meta.durable = 6;
  meta.send({ id: third?.id ?? 0, op: { $case: "renew", value: {} } });
  await Promise.all([first, second]);
  await client.durable();
  t.equal(meta.of("renew").length, 3, "nothing to ask for");
});

test("a change that was answered and cannot be repeated is told", async (t) => {
  const { meta, client, events } = await connected(t);
  const told = mkdir(client, "told");
  meta.done((await meta.some("make"))[0], 1, 9);
  await told;
  await meta.stop();
  meta.attach = () => ({ session: 11, resumed: true });
  await meta.start(t);
  const [again] = await meta.some("make");
  t.equal(again?.replay?.order, 1);
  meta.send({ id: again?.id ?? 0, errno: "ENOSPC" });
  while (!events.log.includes("lost")) await turns(1);
});

test("a change that was told before its answer says when, also when it is sent again", async (t) => {
  const { meta, client } = await connected(t);
  meta.attach = () => ({ session: 11, resumed: true });
  const at = { sec: 77, nsec: 5 };
  const told = client.call("unlink", { dir: 1, name: Buffer.from("told") }, ROOT, { told: { at } });
  const asked = client.call("unlink", { dir: 1, name: Buffer.from("asked") }, ROOT);
  const stamps = (frames: readonly ClientFrame[]) => frames.map(({ again, replay }) => [again, replay?.now]);
  t.same(stamps(await meta.some("unlink", 2)), [
    [false, at],
    [false, undefined],
  ]);
  meta.cut();
  const frames = await meta.some("unlink", 2);
  t.same(stamps(frames), [
    [true, at],
    [true, undefined],
  ]);
  frames.forEach((frame, i) => meta.done(frame, i + 1, 0));
  await Promise.all([told, asked]);
});

test("what is told while the daemon is away, or because it is back, is heard there before others are served", async (t) => {
  const { meta, client, events } = await connected(t);
  meta.attach = () => ({ session: 11, resumed: true });
  const at = { sec: 77, nsec: 5 };
  const unlink = (name: string) => client.call("unlink", { dir: 1, name: Buffer.from(name) }, ROOT, { told: { at } });
  const mine: Promise<unknown>[] = [];
  events.dropped = () => {
    mine.push(unlink("because"));
    return Promise.resolve();
  };
  meta.cut();
  while (client.isReady) await turns(1);
  mine.push(unlink("away"), mkdir(client, "asked"));
  const frames = [...(await meta.some("unlink", 2)), ...(await meta.some("make"))];
  const [renew] = await meta.some("renew");
  const order = [...frames, renew].map((frame) => meta.heard.indexOf(frame!));
  t.ok((order[0] ?? 0) < (order[3] ?? 0) && (order[1] ?? 0) < (order[3] ?? 0), "what was told");
  t.ok((order[2] ?? 0) > (order[3] ?? 0), "what was asked has time");
  t.same(
    frames.map(({ replay }) => replay?.now),
    [at, at, undefined],
  );
  frames.forEach((frame, i) => meta.done(frame, i + 1, 0));
  await Promise.all(mine);
});
