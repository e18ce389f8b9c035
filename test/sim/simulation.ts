/** One seed: a cluster, programs that use it, what fails meanwhile, and the verdict when everything is whole again. */
import { pino, type Logger } from "pino";
import { DEADLINES } from "../../daemon/common/deadlines.js";
import { LIMITS } from "../../proto/limits.js";
import { nameOf } from "../../proto/name.js";
import type { Vfs } from "../../mount/vfs/vfs.js";
import { CELL } from "./cells.js";
import { READ, WHO, type EyesParts } from "./eyes.js";
import { Faults, type Cluster } from "./faults.js";
import { ClientMachine, MetaMachine, type Lab } from "./machines.js";
import { SimNetwork } from "./network.js";
import type { FileModel } from "./files-model.js";
import { LockModel } from "./lock-model.js";
import { LOCKABLE_CELLS, Locker, type Lockable } from "./locker.js";
import { Operator } from "./operator.js";
import { Program, type Folders } from "./program.js";
import { Scheduler } from "./scheduler.js";
import { StoreMachine } from "./store-machine.js";
import { Model } from "./tree-model.js";
import { Watch, Watcher } from "./watch.js";
import { badCopies, unrest } from "./verdict.js";
import type { WriterParts } from "./writer.js";

export interface SimulationOptions {
  readonly seed: number;
  /** Things that programs do, together. */
  readonly steps: number;
  /** Kinds of faults; default: by the seed. */
  readonly faults?: readonly string[];
  /** Lines of the trace to keep; default 100. */
  readonly lines?: number;
  /** What the daemons log goes into the trace. */
  readonly logs?: boolean;
}

export interface Outcome {
  readonly seed: number;
  /** Of everything that has happened. */
  readonly hash: string;
  readonly events: number;
  readonly simulatedMs: number;
  readonly violations: readonly string[];
  /** The latest of what has happened. */
  readonly trace: readonly string[];
}

/** Two programs on each client. */
const PROGRAMS = 2;
/** No simulation has more events than so many for each step, and these. */
const EVENTS_PER_STEP = 4_000;
const EVENTS_MAX = 600_000;
/** After so long without a fault nothing fails any more: whoever waited has an answer. */
const CALM_MS = 150_000;
/** Everything is read against its checksums within this: before it has to be at rest. */
const SCRUB_MS = 300_000;
/** So long everything may take to come to rest. */
const REST_MS = 1_800_000;

export async function simulate(opts: SimulationOptions): Promise<Outcome> {
  const simulation = new Simulation(opts);
  await simulation.run();
  return simulation.outcome();
}

class Simulation {
  readonly #scheduler: Scheduler;
  readonly #cluster: Cluster;
  readonly #model: Model;
  readonly #watch: Watch;
  readonly #faults: Faults;
  readonly #lab: Lab;
  readonly #violations: string[] = [];
  #steps = 0;
  #lastUnrest: string[] = [];

  constructor(private readonly opts: SimulationOptions) {
    const scheduler = (this.#scheduler = new Scheduler(opts.seed, opts.lines ?? 100));
    const { chance } = scheduler;
    const network = new SimNetwork(scheduler);
    const minReplicas = chance.happens(0.25) ? 1 : 2;
    const volume = { chunkSize: LIMITS.chunkSizeMin, replicas: chance.happens(0.2) ? 3 : 2, minReplicas };
    const lab = (this.#lab = {
      ...{ scheduler, network, volume },
      deadlines: { ...DEADLINES, cleanMs: 10_000, heartbeatMs: 5_000, nodeDownMs: 15_000, scrubMs: SCRUB_MS },
      // A client that is alone does not know it yet; what of it was not on disk may be lost all the same.
      log: logsInto(opts.logs === true ? scheduler : undefined, ({ msg, name = "" }) => {
        if (msg === "session ended") this.#model.ended(name);
      }),
      violation: (what: string) => this.#violation(what),
    });
    const named = <T>(count: number, letter: string, make: (host: string) => T): T[] =>
      Array.from({ length: count }, (_, i) => make(`${letter}${i + 1}`));
    const isSplit = chance.happens(0.25);
    const cluster = (this.#cluster = {
      meta: new MetaMachine(lab, "m"),
      stores: named(
        volume.replicas + 1 + chance.below(2),
        "s",
        (host) => new StoreMachine(lab, host, isSplit && host === "s1" ? 2 : 1),
      ),
      clients: named(1 + chance.below(3), "c", (host) => new ClientMachine(lab, host)),
    });
    const model = (this.#model = new Model(() => scheduler.nowMs, lab.violation, minReplicas));
    for (const client of cluster.clients) {
      client.onLoss = (isCrash) => (isCrash ? model.crashed(client.host) : model.fenced(client.host));
    }
    const watchers = cluster.clients.map((client) => new Watcher(client.host, chance, this.#eyes(client)));
    const watch = (this.#watch = new Watch(watchers, scheduler));
    this.#faults = new Faults(
      { scheduler, network, model, cluster, watch, operator: new Operator(lab), minReplicas },
      opts.faults,
    );
  }

  outcome(): Outcome {
    const { hash, events, nowMs, trace } = this.#scheduler;
    return { seed: this.opts.seed, hash, events, simulatedMs: nowMs, violations: this.#violations, trace };
  }

  async run(): Promise<void> {
    let isOver = false;
    const main = this.#main().then(
      () => (isOver = true),
      (error: unknown) => {
        this.#violation(`the simulation breaks: ${error instanceof Error ? (error.stack ?? "") : String(error)}`);
        isOver = true;
      },
    );
    const eventsMax = EVENTS_MAX + EVENTS_PER_STEP * this.opts.steps;
    try {
      await this.#scheduler.runUntil(() => isOver || this.#violations.length > 0, eventsMax);
      if (isOver) await main;
    } catch (error) {
      this.#violation(`${(error as Error).message}; at rest but for: ${this.#lastUnrest.join(", ")}`);
    }
  }

  async #main(): Promise<void> {
    const { meta, stores, clients } = this.#cluster;
    for (const machine of [meta, ...stores, ...clients]) machine.start();
    const { programs, lockers } = await this.#settleIn();
    const all = [...programs, ...lockers];
    this.#faults.start();
    const locking = lockers.map((locker) => this.#drive(() => locker.step().then(() => false)));
    await Promise.all([...programs.map((program) => this.#drive(() => program.step())), ...locking]);
    this.#faults.mend();
    this.#scheduler.note("everything is mended");
    for (const machine of [meta, ...stores, ...clients]) machine.start();
    await Promise.all(all.map((one) => one.finish()));
    await this.#watch.finish();
    await this.#scheduler.pause(CALM_MS);
    for (const one of all) await one.audit();
    // Who takes a lock has others look.
    await this.#watch.finish();
    for (const client of clients) await client.client?.stop();
    await this.#rest();
  }

  /** Folders and files, and who works in them. */
  async #settleIn(): Promise<{ programs: Program[]; lockers: Locker[] }> {
    const { clients, stores } = this.#cluster;
    const scheduler = this.#scheduler;
    while (clients.some(({ fs }) => fs === undefined) || stores.some(({ running }) => running === undefined))
      await scheduler.pause(100);
    await scheduler.pause(1_000);
    const { fs } = clients[0]!;
    const made = async (name: string): Promise<number> => {
      const found = await fs!.mkdir(WHO, fs!.root, nameOf(Buffer.from(name)), 0o755, 0);
      return found.attr?.ino ?? 0;
    };
    const names = clients.flatMap(({ host }) => Array.from({ length: PROGRAMS }, (_, i) => `${host}p${i + 1}`));
    const all: number[] = [];
    for (const name of names) all.push(await made(name));
    const shared = await made("shared");
    const lockables: Lockable[] = [];
    for (const flock of [false, true]) lockables.push({ flock, file: await this.#lockable(fs!, flock) });
    const { handle } = await fs!.opendir(WHO, fs!.root);
    await fs!.fsyncdir(handle);
    const programs = names.map((name, i) => {
      const folders: Folders = { own: all[i]!, shared, all };
      return new Program(name, this.#writer(clients[Math.floor(i / PROGRAMS)]!), folders);
    });
    const locks = new LockModel();
    // Two on the first client: locks of one client's programs are decided there.
    const lockers = [clients[0]!, ...clients].map(
      (client, i) => new Locker(`${client.host}l${i}`, this.#writer(client), lockables, locks),
    );
    return { programs, lockers };
  }

  /** A file of zeros. */
  async #lockable(fs: Vfs, flock: boolean): Promise<FileModel> {
    const model = this.#model;
    const name = nameOf(Buffer.from(flock ? "flocked" : "locked"));
    const { handle, attr } = await fs.create(WHO, fs.root, name, 0o100644, 0, {
      ...READ,
      write: true,
      exclusive: true,
    });
    const file = model.made(attr?.ino ?? 0, false);
    const change = Object.assign(model.begin({ client: "c1", life: 1 }), { from: 0, to: LOCKABLE_CELLS, isCut: false });
    file.add(Object.assign(change, { isHole: true, isDurable: true, handle, opened: 0 }));
    await fs.setattr(WHO, file.ino, { size: LOCKABLE_CELLS * CELL }, handle);
    await fs.fsync(handle);
    model.done(change);
    await fs.release(handle);
    return file;
  }

  #writer(machine: ClientMachine): WriterParts {
    const scheduler = this.#scheduler;
    const pause = (ms: number): Promise<void> => scheduler.pause(ms);
    return { ...this.#eyes(machine), chance: scheduler.chance, pause, watch: this.#watch, meddler: this.#faults };
  }

  #eyes(machine: ClientMachine): EyesParts {
    const note = (what: string): void => this.#scheduler.note(what);
    return { machine, model: this.#model, note, isCalm: () => this.#isCalm };
  }

  get #isCalm(): boolean {
    return !this.#faults.areThere && this.#scheduler.nowMs - this.#faults.mendedMs > 1.9 * CALM_MS;
  }

  /** `step`: true when it counts. */
  async #drive(step: () => Promise<boolean>): Promise<void> {
    const { chance } = this.#scheduler;
    while (this.#steps < this.opts.steps) {
      if (await step()) this.#steps++;
      await this.#scheduler.pause(chance.next() * (chance.happens(0.12) ? 15_000 : 300));
    }
  }

  async #rest(): Promise<void> {
    const { volume } = this.#lab;
    const until = this.#scheduler.nowMs + REST_MS;
    for (;;) {
      this.#lastUnrest = await unrest(this.#cluster, { ...volume, mayLackAll: this.#model.hasLost });
      if (this.#lastUnrest.length === 0) return this.#judgeDisks();
      if (this.#scheduler.nowMs > until) return this.#violation(`no rest: ${this.#lastUnrest.slice(0, 6).join("; ")}`);
      await this.#scheduler.pause(10_000);
    }
  }

  /** Copies that rot after everything was read are found by nobody yet. */
  #judgeDisks(): void {
    for (const store of this.#cluster.stores) {
      for (const node of store.nodes) {
        const [bad] = store.rotted.has(node) ? [] : badCopies(store, node);
        if (bad !== undefined) this.#violation(bad);
      }
      const [aside] = store.mayPutAside ? [] : store.quarantined();
      if (aside !== undefined) this.#violation(`${store.host} has ${aside} in quarantine without a reason`);
    }
  }

  #violation(what: string): void {
    this.#scheduler.note(`VIOLATION ${what}`);
    this.#violations.push(what);
  }
}

interface LogLine {
  readonly msg: string;
  readonly name?: string;
}

function logsInto(scheduler: Scheduler | undefined, told: (line: LogLine) => void): (host: string) => Logger {
  const level = scheduler === undefined ? "info" : "debug";
  return (host) => {
    const write = (line: string): void => {
      scheduler?.note(`${host} logs ${line.trim()}`);
      told(JSON.parse(line) as LogLine);
    };
    return pino({ level, base: {}, timestamp: false }, { write });
  };
}
