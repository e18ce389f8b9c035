import { test } from "tap";
import { DEADLINES } from "../../../../daemon/common/deadlines.js";
import type { OpenFile } from "../../../../proto/gen/bigfs/v1/meta.js";
import { FakeClock } from "../../../helpers/fake-clock.js";
import { ROOT, connected, dies, mkdir, nameOfMake, passing, reconnecting, turns } from "./scripted-meta.js";

test("another session instead of ours: changes that were sent fail, questions and what was never sent go on", async (t) => {
  const clock = new FakeClock();
  const { meta, client, events } = await connected(t, { clock });
  const told = mkdir(client, "told");
  meta.done((await meta.some("make"))[0], 1, 9);
  await told;
  const sent = mkdir(client, "sent");
  const question = client.call("getattr", { ino: 7 }, ROOT);
  await meta.some("make", 2);
  await meta.some("getattr");
  const durable = client.durable();
  await dies(clock, meta);
  const unsent = mkdir(client, "unsent");
  meta.attach = () => ({ session: 12 });
  const [sentFails, durableFails] = [
    t.rejects(sent, { name: "FsError", errno: "EIO" }),
    t.rejects(durable, { name: "FsError", errno: "EIO" }),
  ];
  await meta.start(t);
  const frames = [...(await reconnecting(clock, meta.some("make"))), ...(await meta.some("getattr"))];
  await Promise.all([sentFails, durableFails]);
  t.same(events.log, ["fenced, changes lost"]);
  t.same(meta.of("make").map(nameOfMake), ["unsent"]);
  t.ok(frames.every((frame) => !frame.again && frame.replay === undefined));
  t.same(frames.map(({ id }) => id).sort(), [1, 2], "a new session counts from 1");
  for (const frame of frames) meta.done(frame, 1, 0);
  await Promise.all([unsent, question]);
  await client.durable();
});

test("the session is fenced when that is known, before any answer of the new one", async (t) => {
  const { meta, client, events } = await connected(t);
  meta.attach = () => ({ session: 12 });
  meta.cut();
  const asked = client.call("getattr", { ino: 7 }, ROOT).then(() => events.log.push("answer"));
  meta.done((await meta.some("getattr"))[0], 1, 0);
  await asked;
  t.same(events.log, ["fenced", "answer"]);
});

test("of what was sent to the session that was, only what was told is lost without a word from who asked", async (t) => {
  for (const told of [undefined, { at: { sec: 77, nsec: 5 } }]) {
    const { meta, client, events } = await connected(t);
    const sent = client.call("unlink", { dir: 1, name: Buffer.from("f") }, ROOT, told && { told });
    await meta.some("unlink");
    meta.attach = () => ({ session: 12 });
    meta.cut();
    await t.rejects(sent, { name: "FsError", errno: "EIO" });
    while (events.log.length === 0) await turns(1);
    t.same(events.log, [told === undefined ? "fenced" : "fenced, changes lost"]);
  }
});

test("what was told while the daemon was away is not repeated in another session", async (t) => {
  const clock = new FakeClock();
  const { meta, client, events } = await connected(t, { clock });
  await dies(clock, meta);
  const told = client.call("unlink", { dir: 1, name: Buffer.from("f") }, ROOT, { told: { at: { sec: 77, nsec: 5 } } });
  const fails = t.rejects(told, { name: "FsError", errno: "EIO" });
  const asked = mkdir(client, "asked");
  meta.attach = () => ({ session: 12 });
  await meta.start(t);
  meta.done((await reconnecting(clock, meta.some("make")))[0], 1, 0);
  await Promise.all([fails, asked]);
  t.same(events.log, ["fenced, changes lost"]);
  t.same(meta.of("unlink"), []);
});

test("what counts on what the session had is not asked for in the next one", async (t) => {
  const clock = new FakeClock();
  const { meta, client, events } = await connected(t, { clock });
  await dies(clock, meta);
  const commit = { ino: 7, slices: [], sizeAtLeast: 9, truncSeq: 0, append: false, sync: false, mtime: undefined };
  const lock = { owner: "x", flock: false, kind: 1, start: 0, end: 9, pid: 1 };
  const fail = [
    t.rejects(client.call("commit", { ...commit, set: undefined, setAt: undefined }, ROOT), {
      errno: "EIO",
      name: "FsError",
    }),
    t.rejects(client.call("lock", { ino: 7, lock, wait: true }, ROOT), { errno: "EIO", name: "FsError" }),
  ];
  const asked = mkdir(client, "asked");
  meta.attach = () => ({ session: 12 });
  await meta.start(t);
  meta.done((await reconnecting(clock, meta.some("make")))[0], 1, 0);
  await Promise.all([...fail, asked]);
  t.same(events.log, ["fenced"], "whoever has asked knows what that means");
  t.same([...meta.of("commit"), ...meta.of("lock")], []);
});

test("what is sent before the session is known says nothing of answers, which may be those of another session", async (t) => {
  const { meta, client } = await connected(t);
  const made = mkdir(client, "made");
  meta.done((await meta.some("make"))[0], 1, 0);
  await made;
  meta.attach = () => undefined;
  meta.cut();
  const [attach] = await meta.some("attach");
  client.tell("close", { ino: 5, count: 1, writers: 0 });
  client.tell("forget", { inos: [6] });
  const early = [attach, ...(await meta.some("close")), ...(await meta.some("forget"))];
  t.same(
    early.map((frame) => frame?.oldestOpen),
    [0, 0, 0],
  );
});

test("recalls are confirmed with what is open, on the stream that they came on and no other", async (t) => {
  const { meta, events } = await connected(t);
  const confirmations: ((open: OpenFile[]) => void)[] = [];
  events.confirm = () => new Promise((resolve) => confirmations.push(resolve));
  const recall = (number: number) =>
    meta.send({ op: { $case: "recall", value: { number, inodes: [{ ino: 5, data: true }], entries: [] } } });
  recall(1);
  recall(2);
  while (confirmations.length < 2) await turns(1);
  t.same(events.log, ["recall 1", "recall 2"]);
  confirmations[0]?.([{ ino: 5, count: 1, writers: 0 }]);
  const [first] = await meta.some("recalled");
  t.match(first?.op, { value: { number: 1, open: [{ ino: 5, count: 1, writers: 0 }] } });
  t.equal(first?.id, 0);
  meta.attach = () => ({ session: 11, resumed: true });
  meta.cut();
  await meta.some("renew");
  confirmations[1]?.([]);
  await turns();
  t.same(meta.of("recalled"), [], "the number belongs to the old stream");
});

test("a recall that fails is not confirmed", async (t) => {
  const { meta, events } = await connected(t);
  events.confirm = () => Promise.reject(new Error("bug"));
  meta.send({ op: { $case: "recall", value: { number: 1, inodes: [], entries: [] } } });
  while (events.log.length === 0) await turns(1);
  await turns();
  t.same(meta.of("recalled"), []);
});

test("maps that are pushed replace older ones only; goodbye ends the session", async (t) => {
  const { meta, client } = await connected(t);
  const map = (version: number) => meta.send({ op: { $case: "map", value: { version, nodes: [] } } });
  map(4);
  map(3);
  const asked = mkdir(client, "a");
  meta.done((await meta.some("make"))[0], 1, 0);
  await asked;
  t.equal(client.map.version, 4);
  const stopped = client.stop();
  const [goodbye] = await meta.some("goodbye");
  meta.send({ id: goodbye?.id ?? 0, op: { $case: "goodbye", value: {} } });
  await stopped;
  await t.rejects(mkdir(client, "b"), { name: "FsError", errno: "EIO" });
});

test("who waits for durability waits no longer for a daemon that is away than any other request", async (t) => {
  const clock = new FakeClock();
  const deadlines = { ...DEADLINES, ioDeadlineMs: 1000 };
  const { meta, client } = await connected(t, { clock, deadlines });
  const made = mkdir(client, "a");
  meta.done((await meta.some("make"))[0], 1, 9);
  await made;
  const durable = t.rejects(client.durable(), { name: "FsError", errno: "EIO" });
  await meta.stop();
  await passing(clock, durable);
  t.ok(clock.monotonicMs() >= 2000);
});
