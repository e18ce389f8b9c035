import { execFileSync } from "node:child_process";
import { mkdirSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { test, type Test } from "tap";
import { blockCrcs, encodeHeader, wholeCrc } from "../../../../daemon/common/chunks/chunk-format.js";
import { Layout } from "../../../../daemon/common/chunks/layout.js";
import { thisProcess } from "../../../../daemon/common/process.js";
import type { Process } from "../../../../proto/gen/bigfs/v1/store.js";
import { FakeClock } from "../../../helpers/fake-clock.js";
import { dataOf } from "../../store/chunks.js";
import { ScriptedStore, clientsOf } from "./scripted-store.js";

const KIB = 1024;
const SIZE = 200 * KIB;
const DATA = dataOf(7, SIZE);
const WHOLE = { id: 7, size: SIZE, off: 0, len: SIZE, nodes: [1] };
const PART = { ...WHOLE, off: 100 * KIB, len: 4 * KIB };
const PART_DATA = DATA.subarray(PART.off, PART.off + PART.len);

/** A storage daemon in this process, with chunk 7 in its folder; whatever it is asked for itself is "asked". */
async function lab(t: Test, opts: { process?: Process; errno?: string } = {}) {
  const folder = t.testdir({});
  const path = new Layout(folder).pathOf(7);
  const crcs = blockCrcs(DATA);
  const header = encodeHeader({ id: 7, len: SIZE, crc: wholeCrc(crcs, SIZE), blocks: crcs });
  const write = (data: Buffer) => writeFileSync(path, Buffer.concat([header, data]));
  mkdirSync(dirname(path), { recursive: true });
  write(DATA);
  const store = await ScriptedStore.start(t, 1);
  const { process = thisProcess(), errno = "" } = opts;
  store.answer = ({ op }) =>
    op?.$case === "locate" ? { errno, located: { process, folder } } : { data: Buffer.from("asked") };
  const clock = new FakeClock();
  const clients = clientsOf(t, [store.node], { clock, shortCircuit: true });
  return { path, write, store, clock, clients };
}

test("chunks of a node on this machine are read without asking it", async (t) => {
  const { store, clients } = await lab(t);
  t.same(await clients.get(WHOLE), DATA);
  t.same(await clients.get(PART), PART_DATA);
  t.same(await clients.get({ ...WHOLE, off: SIZE - 10, len: 10 }), DATA.subarray(SIZE - 10));
  t.equal(store.gets, 0);
});

test("a node of another machine, or one that does not say where it is, is asked", async (t) => {
  for (const opts of [{ process: { ...thisProcess(), started: "1@elsewhere" } }, { errno: "EOPNOTSUPP" }]) {
    const { store, clients } = await lab(t, opts);
    t.equal((await clients.get(PART)).toString(), "asked");
    t.equal(store.gets, 1);
  }
});

test("what is damaged, cut, of another chunk or gone is never returned: the node is asked", async (t) => {
  const { path, write, store, clients } = await lab(t);
  const flipped = Buffer.from(DATA);
  flipped[PART.off + 1]! ^= 4;
  const damages = [
    () => write(flipped),
    () => write(DATA.subarray(0, PART.off)),
    () => writeFileSync(path, Buffer.alloc(0)),
    () => write(DATA),
    () => unlinkSync(path),
    () => execFileSync("mkfifo", [path]),
    () => {
      unlinkSync(path);
      symlinkSync("/etc/passwd", path);
    },
  ];
  for (const [i, damage] of damages.entries()) {
    damage();
    const other = i === 3 ? { size: SIZE - KIB } : {};
    t.equal((await clients.get({ ...PART, ...other })).toString(), "asked");
    t.equal((await clients.get({ ...WHOLE, ...other })).toString(), "asked");
    t.equal(store.gets, 2 * i + 2);
  }
});

test("a file that was read in parts is closed when nobody reads it any more, so that a deleted chunk takes no space", async (t) => {
  const { path, clock, clients } = await lab(t);
  t.same(await clients.get(PART), PART_DATA);
  unlinkSync(path);
  t.same(await clients.get(PART), PART_DATA, "still open");
  await clock.advance(10_000);
  t.equal((await clients.get(PART)).toString(), "asked");
});

test("when the disk hangs the node is asked instead, and at once from then on", async (t) => {
  const { store, clock, clients } = await lab(t);
  t.same(await clients.get(PART), PART_DATA);
  const slow = clients.get(WHOLE);
  // The disk answers in a later turn at the earliest; by then its time is over.
  for (let i = 0; i < 20; i++) await Promise.resolve();
  clock.jump(1_500);
  t.equal((await slow).toString(), "asked");
  t.equal((await clients.get(PART)).toString(), "asked");
  t.equal(store.gets, 2);
});

test("a node that says late where it is is asked until then", async (t) => {
  const { store, clock, clients } = await lab(t);
  const answer = store.answer;
  let say = (): void => {};
  const late = new Promise<void>((resolve) => (say = resolve));
  let isAsked = false;
  store.answer = async (request) => {
    if (request.op?.$case !== "locate") return answer(request);
    isAsked = true;
    await late;
    return answer(request);
  };
  const got = clients.get(PART);
  while (!isAsked) await new Promise((resolve) => setImmediate(resolve));
  await clock.advance(3_000);
  t.equal((await got).toString(), "asked");
  say();
  for (let here = false; !here;) here = (await clients.get(PART)).equals(PART_DATA);
  t.pass("then its files are read");
});

test("after its stream broke a node is asked anew where it is", async (t) => {
  const { store, clients } = await lab(t);
  t.same(await clients.get(PART), PART_DATA);
  store.cut();
  while (store.open > 0) await new Promise((resolve) => setImmediate(resolve));
  t.same(await clients.get(WHOLE), DATA);
  t.equal(store.gets, 0);
});
