import { test } from "tap";
import { KernelNotifier } from "../../../../mount/kernel/cache.js";
import { INIT2 } from "../../../../mount/kernel/codec/init.js";
import { PendingRequests } from "../../../../mount/kernel/pending.js";
import { nameOf } from "../../../../proto/name.js";

const NAME = nameOf(Buffer.from("name"));
const EPOCH_CODE = 8;
const FLAGS_AT = 28;

function setUp(minor: number) {
  const waiting: ((result: number) => void)[] = [];
  const sent: number[] = [];
  const flags: number[] = [];
  const codeOf = (message: Buffer) => message.readInt32LE(4);
  const notifications = {
    notify: (_lane: string, message: Buffer) => {
      sent.push(codeOf(message));
      flags.push(message.readUInt32LE(FLAGS_AT));
      return new Promise<number>((resolve) => waiting.push(resolve));
    },
    notifyNow: (message: Buffer) => sent.push(codeOf(message)) && 0,
  };
  const pending = new PendingRequests();
  const notifier = new KernelNotifier(
    { notifications, pending },
    { minor, flags: 0, flags2: INIT2.hasExpireOnly, maxReadahead: 0 },
  );
  const settle = (result: number) => waiting.splice(0).forEach((resolve) => resolve(result));
  return { notifier, pending, sent, flags, settle };
}

test("a name in a folder without requests waits for the kernel", async (t) => {
  const { notifier, sent, settle } = setUp(44);
  let done = false;
  const dropped = notifier.dropEntry(7, NAME, false).then(() => (done = true));
  await Promise.resolve();
  t.equal(done, false);
  settle(0);
  await dropped;
  t.same(sent, [3]);
});

test("a request that comes to the folder while a name is dropped starts a new epoch, and nobody waits", async (t) => {
  const { notifier, pending, sent } = setUp(44);
  const dropped = notifier.dropEntry(7, NAME, false);
  pending.add(8, false);
  t.same(sent, [3], "another folder does not matter");
  pending.add(7, false);
  await dropped;
  t.same(sent, [3, EPOCH_CODE]);
});

test("a request that may hold any folder's lock does so too, and so does one that is there already", async (t) => {
  const { notifier, pending, sent } = setUp(44);
  const dropped = notifier.dropEntry(7, NAME, false);
  pending.add(3, true);
  await dropped;
  t.same(sent, [3, EPOCH_CODE]);
  await notifier.dropEntry(9, NAME, false);
  t.same(sent, [3, EPOCH_CODE, EPOCH_CODE]);
  pending.remove(3, true);
  t.equal(pending.busy(9), false);
});

test("without epochs a name in a busy folder is sent, and nobody waits for it", async (t) => {
  const { notifier, pending, sent } = setUp(43);
  t.equal(notifier.dropAllEntries(), false);
  pending.add(7, false);
  await notifier.dropEntry(7, NAME, false);
  t.same(sent, [3]);
});

test("what the kernel does not know is dropped, what it refuses is an error", async (t) => {
  const { notifier, settle } = setUp(44);
  for (const [result, ok] of [
    [-2, true],
    [-107, true],
    [-19, true],
    [-22, false],
  ] as const) {
    const drops = [notifier.dropAttributes(5), notifier.dropData(5, 0, 0), notifier.dropEntry(7, NAME, false)];
    settle(result);
    const outcomes = await Promise.allSettled(drops);
    t.same(
      outcomes.map((outcome) => outcome.status),
      drops.map(() => (ok ? "fulfilled" : "rejected")),
      `errno ${-result}`,
    );
  }
});

test("more names than may be under way are dropped by an epoch", async (t) => {
  const { notifier, sent, settle } = setUp(44);
  const drops = Array.from({ length: 1030 }, (_, i) => notifier.dropEntry(i + 10, NAME, false));
  t.equal(sent.filter((code) => code === EPOCH_CODE).length, 6);
  settle(0);
  await Promise.all(drops);
});

test("the name of a folder is never taken from under who stands there, any other goes at once", async (t) => {
  for (const minor of [44, 43]) {
    const { notifier, sent, flags, settle } = setUp(minor);
    const drops = [notifier.dropEntry(7, NAME, false), notifier.dropEntry(7, NAME, true)];
    settle(0);
    await Promise.all(drops);
    t.same(
      [sent, flags],
      minor === 44
        ? [[3, EPOCH_CODE], [0]]
        : [
            [3, 3],
            [0, 1],
          ],
    );
  }
});
