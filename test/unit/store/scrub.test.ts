import fc from "fast-check";
import { Registry } from "prom-client";
import { test } from "tap";
import { Layout } from "../../../daemon/common/chunks/layout.js";
import type { ChunkStore } from "../../../daemon/store/chunk-store.js";
import { Scrub } from "../../../daemon/store/scrub.js";
import { nextFolder, pauseMs } from "../../../daemon/store/scrub-plan.js";
import { FakeClock, until } from "../../helpers/fake-clock.js";
import { chunkOf, openStore, silent } from "./chunks.js";
import { MemoryDisk } from "./memory-disk.js";

const layout = new Layout("/data");
const DAY = 86_400_000;
const PERIOD = 8 * DAY;

function openScrub(parts: { disk: MemoryDisk; store: ChunkStore; clock: FakeClock }): Promise<Scrub> {
  const all = { ...parts, log: silent, registry: new Registry() };
  return Scrub.open(all, { path: layout.scrub, periodMs: PERIOD });
}

/** Lets the clock run until the work is done. */
async function through(clock: FakeClock, work: Promise<void>): Promise<void> {
  let isDone = false;
  void work.catch(() => undefined).finally(() => (isDone = true));
  await until(async () => {
    if (!isDone && clock.timers > 0) await clock.advance(clock.nextMs);
    return isDone;
  });
  await work;
}

function flip(disk: MemoryDisk, id: number): void {
  const bytes = Buffer.from(disk.peek(layout.pathOf(id)));
  bytes[bytes.length - 1]! ^= 1;
  disk.poke(layout.pathOf(id), bytes);
}

test("a flipped bit that nobody reads is found within the period, and the copy is lost (D19)", async (t) => {
  const [disk, clock] = [new MemoryDisk(), new FakeClock()];
  const store = await openStore(disk);
  for (const id of [1, 2, 300, 70_000]) await store.put(chunkOf(id, 1000));
  const scrub = await openScrub({ disk, store, clock });
  const lost: [number, string][] = [];
  store.onLost((id, errno) => lost.push([id, errno]));
  flip(disk, 300);
  await through(clock, scrub.task.runOnce());
  t.same(lost, [], "all of it was just written");
  await clock.advance(PERIOD / 2);
  await through(clock, scrub.task.runOnce());
  t.same(lost, [[300, "EBADMSG"]]);
  t.same(disk.filesIn(layout.quarantine).length, 1);
  t.same([...store.ids()], [1, 2, 70_000], "the others are good");
  t.ok(scrub.oldestSec < 60);
});

test("after a restart scrubbing goes on where it was, also when all was asked for", async (t) => {
  const [disk, clock] = [new MemoryDisk(), new FakeClock()];
  let store = await openStore(disk);
  for (const id of [1, 300, 600]) await store.put(chunkOf(id, 1000, { sync: true }));
  let scrub = await openScrub({ disk, store, clock });
  const reads = () => disk.log.filter((call) => call.startsWith("read /data/chunks")).map((call) => call.slice(20));
  await clock.advance(1000);
  const asked = scrub.all();
  await until(() => reads().length === 1);
  await clock.advance(clock.nextMs);
  await until(() => reads().length === 2);
  await scrub.task.stop();
  await asked;
  disk.restart(undefined);
  store = await openStore(disk);
  disk.log.length = 0;
  scrub = await openScrub({ disk, store, clock });
  await through(clock, scrub.task.runOnce());
  t.equal(reads().length, 2, "the folder that was done is not read again");
  await through(clock, scrub.task.runOnce());
  t.equal(reads().length, 2);
});

test("a chunk that cannot be looked at now is tried again, and costs the others nothing", async (t) => {
  const [disk, clock] = [new MemoryDisk(), new FakeClock()];
  const store = await openStore(disk);
  for (const id of [1, 2, 3]) await store.put(chunkOf(id, 1000));
  const scrub = await openScrub({ disk, store, clock });
  await clock.advance(PERIOD / 2);
  flip(disk, 3);
  disk.verdict = (label, path) => (label === "read" && path === layout.pathOf(1) ? { code: "EMFILE" } : "do");
  await t.rejects(through(clock, scrub.task.runOnce()));
  t.same([...store.ids()], [1, 2]);
  t.ok(scrub.oldestSec >= PERIOD / 2000, "it was not read");
  disk.verdict = () => "do";
  await through(clock, scrub.task.runOnce());
  t.ok(scrub.oldestSec < 60);
});

test("a record that is damaged or lies ahead of the clock does not stop scrubbing", async (t) => {
  for (const text of ["", "{}", JSON.stringify({ times: new Array(256).fill(1e15), wanted: 1e15 })]) {
    const [disk, clock] = [new MemoryDisk(), new FakeClock()];
    const store = await openStore(disk);
    await store.put(chunkOf(1, 1000));
    await disk.write(layout.scrub, [Buffer.from(text)]);
    const scrub = await openScrub({ disk, store, clock });
    await clock.advance(PERIOD / 2 + 60_000);
    flip(disk, 1);
    await through(clock, scrub.task.runOnce());
    t.same([...store.ids()], []);
  }
});

test("whatever there is to read, everything is read within the period, users at work or not", async () => {
  const folders = fc.uniqueArray(fc.nat(255), { minLength: 1, maxLength: 256 });
  fc.assert(
    fc.property(folders, fc.integer({ min: 1, max: 2 ** 44 }), fc.boolean(), (numbers, used, isBusy) => {
      const holds = new Set(numbers);
      const times = new Array<number>(256).fill(0);
      let now = 0;
      let latest = 0;
      while (now < 3 * PERIOD) {
        const folder = nextFolder({ times, wanted: 0 }, { holds, now, periodMs: PERIOD });
        if (folder === undefined) {
          now += PERIOD / 512;
          continue;
        }
        const begun = now;
        now += pauseMs(used / holds.size, { used, periodMs: PERIOD, isBusy });
        latest = Math.max(latest, now - (times[folder] ?? 0));
        times[folder] = begun;
      }
      // One folder's reading more than the period: its time is when it began.
      return latest <= PERIOD * (1 + 1 / 2 / holds.size + 1 / 512);
    }),
    { numRuns: 50 },
  );
});
