/**
 * Clients work while the daemon dies again and again, at moments when some of what they were told is not on disk. What
 * they find afterwards is what they were told, and each operation has happened once.
 */
import { pino } from "pino";
import { test, type Test } from "tap";
import { systemClock } from "../../../daemon/common/clock.js";
import { connectMeta } from "../../../mount/clients/meta-client.js";
import type { MetaClient } from "../../../mount/vfs/ports.js";
import { FsError } from "../../../proto/errno.js";
import { KEY, MetaHarness, ROOT } from "../../helpers/meta-harness.js";
import { Commit } from "../../../proto/gen/bigfs/v1/meta.js";

interface Model {
  readonly ino: number;
  bytes: string;
  mode: number;
}

/** A seeded sequence (xorshift32). */
function chance(seed: number): (below: number) => number {
  let x = seed * 2654435761 || 1;
  return (below) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return Math.abs(x) % below;
  };
}

/** One client and what it was told; its names are its own, the folder is everybody's. */
class Worker {
  readonly files = new Map<string, Model>();
  recalls = 0;
  done = 0;

  constructor(
    readonly meta: MetaClient,
    readonly tag: string,
    readonly dir: number,
    private readonly pick: (below: number) => number,
  ) {
    meta.listen({
      recall: () => Promise.resolve([]).finally(() => this.recalls++),
      openFiles: () => [],
      heldLocks: () => [],
      locksWanted: () => {},
      locksFreed: () => {},
      unshared: () => {},
      crowded: () => {},
      uncached: () => Promise.resolve(),
      lost: () => {
        throw new Error("lost");
      },
      fenced: () => {
        throw new Error("fenced");
      },
    });
  }

  async step(): Promise<void> {
    const name = `${this.tag}${this.pick(12)}`;
    const known = this.files.get(name);
    const what = this.pick(5);
    if (known === undefined) await this.#create(name);
    else if (what === 0) await this.#unlink(name);
    else if (what === 1) await this.#rename(name, `${this.tag}${this.pick(12)}`);
    else if (what === 2) await this.#chmod(known);
    else await this.#append(known);
    this.done++;
  }

  async check(t: Test): Promise<void> {
    const args = { dir: this.dir, after: 0, limit: 0, withAttrs: true };
    const { entries } = await this.meta.call("readdir", args, ROOT);
    const own = entries.filter((entry) => entry.name.toString().startsWith(this.tag));
    t.same(own.map((entry) => entry.name.toString()).sort(), [...this.files.keys()].sort());
    for (const { name, ino, attr } of own) {
      const model = this.files.get(name.toString());
      t.same(
        { ino, mode: attr?.mode, size: attr?.size },
        { ino: model?.ino, mode: model?.mode, size: model?.bytes.length },
      );
      t.equal(await this.#read(ino), model?.bytes, `content of ${name.toString()}`);
    }
  }

  async #create(name: string): Promise<void> {
    const rest = {
      rdev: 0,
      target: Buffer.alloc(0),
      open: false,
      exclusive: true,
      truncate: false,
      umask: 0,
      access: 0,
    };
    const args = { dir: this.dir, name: Buffer.from(name), mode: 0o100644, ...rest };
    const { attr } = await this.meta.call("make", args, ROOT);
    this.files.set(name, { ino: attr?.ino ?? 0, bytes: "", mode: 0o100644 });
  }

  async #unlink(name: string): Promise<void> {
    await this.meta.call("unlink", { dir: this.dir, name: Buffer.from(name) }, ROOT);
    this.files.delete(name);
  }

  async #rename(from: string, into: string): Promise<void> {
    if (from === into) return;
    const names = { fromDir: this.dir, fromName: Buffer.from(from), intoDir: this.dir, intoName: Buffer.from(into) };
    await this.meta.call("rename", { ...names, noReplace: false, exchange: false }, ROOT);
    const model = this.files.get(from);
    this.files.delete(from);
    if (model !== undefined) this.files.set(into, model);
  }

  async #chmod(file: Model): Promise<void> {
    const mode = 0o100600 + this.pick(64);
    const none = { atime: undefined, mtime: undefined, atimeNow: false, mtimeNow: false };
    await this.meta.call("setattr", { ino: file.ino, mode, ...none }, ROOT);
    file.mode = mode;
  }

  /** Done twice, the bytes would stand there twice. */
  async #append(file: Model): Promise<void> {
    const text = `${this.tag}${this.done};`;
    const slice = { pos: 0, len: text.length, chunk: 0, off: 0, inline: Buffer.from(text) };
    await this.meta.call("commit", Commit.create({ ino: file.ino, slices: [{ slot: 0, slice }], append: true }), ROOT);
    file.bytes += text;
  }

  async #read(ino: number): Promise<string> {
    const { slots, attr } = await this.meta.call("slots", { ino, first: 0, count: 1 }, ROOT);
    const data = Buffer.alloc(attr?.size ?? 0);
    for (const { pos, inline } of slots[0]?.slices ?? []) inline.copy(data, pos);
    return data.toString();
  }
}

async function run(t: Test, seed: number): Promise<void> {
  const harness = await MetaHarness.start(t, { deadlines: { reconnectMinMs: 5, reconnectMaxMs: 20 } });
  const pick = chance(seed);
  const setUp = await harness.client();
  const dir = await setUp.create(1, "shared", { mode: 0o040777 });
  await setUp.call("goodbye", {});
  // A replay that is refused after it had succeeded is logged there, and told to nobody.
  const complaints: string[] = [];
  const log = pino({ level: "error" }, { write: (line: string) => void complaints.push(line) });
  const connect = (name: string) =>
    connectMeta({
      address: harness.address,
      key: KEY,
      name,
      readOnly: false,
      deadlines: harness.deadlines,
      clock: systemClock,
      log,
    });
  const workers: Worker[] = [];
  for (const tag of ["a", "b"])
    workers.push(new Worker(await connect(tag), tag, dir, chance(seed * 31 + tag.charCodeAt(0))));
  t.teardown(() => Promise.all(workers.map((worker) => worker.meta.stop())));
  let isOver = false;
  const work = async (worker: Worker) => {
    while (!isOver) await worker.step();
  };
  const working = Promise.all(workers.map(work));
  working.catch(() => {});
  const total = () => workers.reduce((sum, worker) => sum + worker.done, 0);
  const failed = working.then(() => undefined);
  for (let deaths = 0; deaths < 6; deaths++) {
    const until = total() + 20 + pick(60);
    await Promise.race([failed, turnsUntil(() => total() >= until)]);
    if (pick(3) > 0) harness.gates.close(pick(2) === 0 ? "before commit" : "after commit");
    // Some more is visible by now, or nothing can go on.
    for (let turns = 10 + pick(40); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
    await harness.kill();
    await harness.start();
  }
  const until = total() + 30;
  await Promise.race([failed, turnsUntil(() => total() >= until)]);
  isOver = true;
  await working;
  for (const worker of workers) await worker.check(t);
  t.same(complaints, []);
}

async function turnsUntil(look: () => boolean): Promise<void> {
  while (!look()) await new Promise((resolve) => setImmediate(resolve));
}

for (const seed of [1, 2, 3, 4]) {
  test(`seed ${seed}: every operation happens once, whenever the daemon dies`, async (t) => {
    try {
      await run(t, seed);
    } catch (error) {
      if (error instanceof FsError) t.fail(`an operation was refused: ${error.message}`);
      else throw error;
    }
  });
}
