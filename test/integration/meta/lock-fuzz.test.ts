/**
 * Clients take and give back the same few names (as lock folders) while the daemon dies again and again. Who was told
 * that a name is his has it, alone, and the others see it.
 */
import { pino } from "pino";
import { test, type Test } from "tap";
import { systemClock } from "../../../daemon/common/clock.js";
import { connectMeta } from "../../../mount/clients/meta-client.js";
import type { MetaClient } from "../../../mount/vfs/ports.js";
import { FsError } from "../../../proto/errno.js";
import { Chance } from "../../helpers/chance.js";
import { KEY, MetaHarness, ROOT } from "../../helpers/meta-harness.js";

const CLIENTS = ["a", "b", "c"];
const DEATHS = 8;

class Locks {
  readonly problems: string[] = [];
  done = 0;
  isOver = false;
  readonly #held = new Set<string>();

  constructor(
    private readonly clients: readonly MetaClient[],
    private readonly chance: Chance,
  ) {}

  async work(who: number): Promise<void> {
    while (!this.isOver) {
      const lock = `lock${this.chance.below(2)}`;
      if (!(await this.#take(who, lock))) continue;
      if (this.#held.has(lock)) this.problems.push(`${lock} was taken twice`);
      this.#held.add(lock);
      if (this.chance.happens(0.3)) await this.#look((who + 1) % this.clients.length, lock);
      this.#held.delete(lock);
      const errno = await this.#ask(who, (meta) => meta.call("rmdir", { dir: 1, name: Buffer.from(lock) }, ROOT));
      if (errno !== "") this.problems.push(`${lock} could not be given back: ${errno}`);
    }
  }

  async #take(who: number, lock: string): Promise<boolean> {
    const name = { dir: 1, name: Buffer.from(lock), mode: 0o040755, rdev: 0, target: Buffer.alloc(0), umask: 0 };
    const flags = { open: false, exclusive: true, truncate: false, access: 0 };
    const errno = await this.#ask(who, (meta) => meta.call("make", { ...name, ...flags }, ROOT));
    if (errno !== "" && errno !== "EEXIST") this.problems.push(`${lock} could not be taken: ${errno}`);
    return errno === "";
  }

  async #look(who: number, lock: string): Promise<void> {
    const errno = await this.#ask(who, async (meta) => {
      const { attr } = await meta.call("lookup", { dir: 1, name: Buffer.from(lock) }, ROOT);
      if (attr === undefined) throw new FsError("ENOENT");
    });
    if (errno !== "") this.problems.push(`${lock} is not seen by another: ${errno}`);
  }

  async #ask(who: number, ask: (meta: MetaClient) => Promise<unknown>): Promise<string> {
    const meta = this.clients[who];
    if (meta === undefined) throw new Error("no such client");
    this.done++;
    try {
      await ask(meta);
      return "";
    } catch (error) {
      if (error instanceof FsError) return error.errno;
      throw error;
    }
  }
}

async function run(t: Test, seed: number): Promise<void> {
  const harness = await MetaHarness.start(t, { deadlines: { reconnectMinMs: 2, reconnectMaxMs: 10 } });
  const chance = new Chance(seed);
  const { address, deadlines } = harness;
  const log = pino({ level: "silent" });
  const clients: MetaClient[] = [];
  t.teardown(() => Promise.all(clients.map((client) => client.stop())));
  for (const name of CLIENTS) {
    const client = await connectMeta({ address, key: KEY, name, readOnly: false, deadlines, clock: systemClock, log });
    clients.push(client);
    client.listen({
      recall: () => Promise.resolve([]),
      openFiles: () => [],
      heldLocks: () => [],
      locksWanted: () => {},
      locksFreed: () => {},
      unshared: () => {},
      crowded: () => {},
      uncached: () => Promise.resolve(),
      fenced: () => t.fail("fenced"),
      lost: () => t.fail("lost"),
    });
  }
  const locks = new Locks(clients, chance);
  const working = Promise.all(clients.map((_, who) => locks.work(who)));
  working.catch(() => {});
  const failed = working.then(() => undefined);
  for (let deaths = 0; deaths < DEATHS; deaths++) {
    const until = locks.done + 10 + chance.below(30);
    await Promise.race([failed, turnsUntil(() => locks.done >= until)]);
    if (chance.happens(0.75)) harness.gates.close(chance.happens(0.65) ? "before commit" : "after commit");
    // Some more is visible by now, or nothing can go on.
    let turns = 5 + chance.below(30);
    await turnsUntil(() => turns-- === 0);
    await harness.kill();
    await harness.start();
  }
  locks.isOver = true;
  await working;
  t.same(locks.problems, []);
}

async function turnsUntil(look: () => boolean): Promise<void> {
  while (!look()) await new Promise((resolve) => setImmediate(resolve));
}

for (const seed of [1, 2, 3, 4]) {
  test(`seed ${seed}: a name is made by one client only, whenever the daemon dies`, (t) => run(t, seed));
}
