import { test } from "tap";
import { FakeClock } from "../../../helpers/fake-clock.js";
import { passing, turns } from "./scripted-meta.js";
import { ScriptedStore, clientsOf, nodeInfo } from "./scripted-store.js";

const WANT = { id: 30, size: 4, off: 0, len: 4 };

for (const errno of ["EIO", "EBADMSG", "ENOENT"]) {
  test(`a node that answers ${errno} is passed over at once`, async (t) => {
    const [bad, good] = [await ScriptedStore.start(t, 1, "here"), await ScriptedStore.start(t, 2)];
    bad.answer = () => ({ errno });
    const clients = clientsOf(t, [bad.node, good.node], { zone: "here" });
    t.equal((await clients.get({ ...WANT, nodes: [1, 2] })).toString(), "data");
    t.equal(bad.gets, 1);
    t.equal(good.gets, 1);
  });
}

test("a node that is not there, and one whose stream breaks, are passed over and asked last for a while", async (t) => {
  const clock = new FakeClock();
  const [breaks, good] = [await ScriptedStore.start(t, 2, "here"), await ScriptedStore.start(t, 3)];
  breaks.answer = () => {
    breaks.cut();
    return "silence";
  };
  const gone = nodeInfo(1, "127.0.0.1:1", "here");
  const clients = clientsOf(t, [gone, breaks.node, good.node], { zone: "here", clock });
  const nodes = [1, 2, 3];
  t.equal((await clients.get({ ...WANT, nodes })).toString(), "data");
  t.equal(breaks.gets, 1);
  await clients.get({ ...WANT, nodes });
  t.equal(breaks.gets, 1, "remembered");
  breaks.answer = () => ({ data: Buffer.from("back") });
  await clock.advance(6_000);
  t.equal((await clients.get({ ...WANT, nodes })).toString(), "back");
});

test("a node that says nothing does not hold up a reader: another one is asked beside it", async (t) => {
  const clock = new FakeClock();
  const [mute, good] = [await ScriptedStore.start(t, 1, "here"), await ScriptedStore.start(t, 2)];
  mute.answer = () => "silence";
  const clients = clientsOf(t, [mute.node, good.node], { zone: "here", clock });
  const got = clients.get({ ...WANT, nodes: [1, 2] });
  while (mute.gets === 0) await turns(1);
  // Long before the try itself has timed out. Then time stands still, and the other can be reached however slow that is.
  await clock.advance(1_000);
  t.equal((await got).toString(), "data");
});

test("when all fail it is EIO with what each said; when nobody answers, after the time of one try", async (t) => {
  const clock = new FakeClock();
  const [one, two] = [await ScriptedStore.start(t, 1), await ScriptedStore.start(t, 2)];
  one.answer = () => ({ errno: "EBADMSG" });
  two.answer = () => ({ errno: "ENOENT" });
  const clients = clientsOf(t, [one.node, two.node], { clock });
  await t.rejects(clients.get({ ...WANT, nodes: [1, 2] }), {
    name: "FsError",
    errno: "EIO",
    message: /EBADMSG.*ENOENT|ENOENT.*EBADMSG/,
  });
  one.answer = two.answer = () => "silence";
  await t.rejects(passing(clock, clients.get({ ...WANT, nodes: [1, 2] })), { name: "FsError", errno: "EIO" });
  await t.rejects(clients.get({ ...WANT, nodes: [] }), { name: "FsError", errno: "EIO" });
  await t.rejects(clients.get({ ...WANT, nodes: [77] }), { name: "FsError", errno: "EIO" }, "unknown to the map");
});

test("more bytes than were asked for are not an answer", async (t) => {
  const [wrong, good] = [await ScriptedStore.start(t, 1, "here"), await ScriptedStore.start(t, 2)];
  wrong.answer = () => ({ data: Buffer.from("too much") });
  const clients = clientsOf(t, [wrong.node, good.node], { zone: "here" });
  t.equal((await clients.get({ ...WANT, nodes: [1, 2] })).toString(), "data");
});

test("one stream serves many requests", async (t) => {
  const store = await ScriptedStore.start(t, 1);
  const clients = clientsOf(t, [store.node]);
  store.answer = () => ({ data: Buffer.from("data") });
  await Promise.all(Array.from({ length: 50 }, () => clients.get({ ...WANT, nodes: [1] })));
  t.equal(store.streams, 1);
});

test("a stream that was lost is dialled again for the next request; an idle one is closed", async (t) => {
  const clock = new FakeClock();
  const store = await ScriptedStore.start(t, 1);
  const clients = clientsOf(t, [store.node], { clock });
  await clients.get({ ...WANT, nodes: [1] });
  store.cut();
  // What is asked before it is known to be lost fails with it.
  const asked = () => clients.get({ ...WANT, nodes: [1] }).catch(() => undefined);
  while ((await asked()) === undefined);
  t.equal(store.streams, 2);
  await clock.advance(61_000);
  while (store.open > 0) await turns(1);
  await clients.get({ ...WANT, nodes: [1] });
  t.equal(store.streams, 3);
});

test("stopping ends what is under way, and nothing begins afterwards", async (t) => {
  const store = await ScriptedStore.start(t, 1);
  store.answer = () => "silence";
  const clients = clientsOf(t, [store.node]);
  const failed = t.rejects(clients.get({ ...WANT, nodes: [1] }), { name: "FsError", errno: "EIO" });
  while (store.gets === 0) await turns(1);
  await clients.stop();
  await failed;
  await t.rejects(clients.get({ ...WANT, nodes: [1] }), { name: "FsError", errno: "EIO" });
});
