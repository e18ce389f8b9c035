/** What fails, and when: chosen by the seed, until everything is mended. */
import type { Chance } from "../helpers/chance.js";
import type { ClientMachine, Machine, MetaMachine } from "./machines.js";
import type { SimNetwork } from "./network.js";
import type { Operator } from "./operator.js";
import type { Scheduler } from "./scheduler.js";
import type { Ailment, SimNode, StoreMachine } from "./store-machine.js";
import type { Model } from "./tree-model.js";
import type { Watch } from "./watch.js";
import type { Meddler } from "./writer.js";

export interface Cluster {
  readonly meta: MetaMachine;
  readonly stores: readonly StoreMachine[];
  readonly clients: readonly ClientMachine[];
}

/** How often each kind is chosen; some seeds have none of some. */
const KINDS = [
  "kill",
  "power",
  "blackout",
  "cut",
  "alone",
  "break",
  "stall",
  "clock",
  "rot",
  "fsync",
  "read",
  "drain",
  "full",
  "commit",
  "slow",
] as const;
type Kind = (typeof KINDS)[number];

/** Milliseconds between faults, one for each seed, and how long one lasts. */
const PAUSES_MS = [1_500, 4_000, 12_000];
const LASTS_MS = [200, 3_000, 20_000, 90_000];
/** How often a stream breaks just when its client asks for a change, and all power is cut just after an fsync. */
const BREAKS_ASKING = 0.05;
const BLACKS_OUT_SYNCED = 0.3;
/** A client is alone for longer than its lease lasts; before that it looks around for so long. */
const ALONE_MS = { min: 14_000, max: 30_000 };
const LOOKS_MS = 50;
const FULL_MS = 150_000;

export class Faults implements Meddler {
  readonly #kinds: Kind[];
  readonly #rotting: { readonly store: StoreMachine; readonly node: SimNode } | undefined;
  readonly #pauseMs: number;
  readonly #open = new Set<() => void>();
  #isOver = false;
  #isDraining = false;
  /** When the latest was mended. */
  mendedMs = 0;

  constructor(
    private readonly parts: {
      readonly scheduler: Scheduler;
      readonly network: SimNetwork;
      readonly model: Model;
      readonly cluster: Cluster;
      readonly watch: Watch;
      readonly operator: Operator;
      readonly minReplicas: number;
    },
    only?: readonly string[],
  ) {
    const { chance } = parts.scheduler;
    this.#kinds = KINDS.filter((kind) => only?.includes(kind) ?? chance.happens(0.55));
    this.#pauseMs = pick(chance, PAUSES_MS);
    // The bytes of one disk alone may rot, and only when there are others that are waited for.
    const { stores } = parts.cluster;
    const store = pick(chance, stores);
    if (parts.minReplicas > 1) this.#rotting = { store, node: pick(chance, store.nodes) };
  }

  get areThere(): boolean {
    return this.#open.size > 0;
  }

  start(): void {
    if (this.#kinds.length > 0) this.#next();
  }

  /** A client asks for a change: its stream may break while the answer is on its way, and it has to ask again. */
  asked(host: string): void {
    const { scheduler, cluster } = this.parts;
    if (!this.#kinds.includes("break") || !scheduler.chance.happens(BREAKS_ASKING)) return;
    const ms = scheduler.chance.next() * pick(scheduler.chance, [3, 20]);
    scheduler.after(ms, "fault", undefined, () => this.#isOver || this.#break([host, cluster.meta.host]));
  }

  /** A file was fsynced: everything may lose its power before disks are written of themselves. */
  synced(): void {
    const { scheduler } = this.parts;
    if (!this.#kinds.includes("blackout") || !scheduler.chance.happens(BLACKS_OUT_SYNCED)) return;
    const ms = scheduler.chance.next() * scheduler.chance.next() * 1_000;
    scheduler.after(ms, "fault", undefined, () => this.#isOver || this.#inject("blackout"));
  }

  isAlone(host: string): boolean {
    return this.parts.network.isCut(host, this.parts.cluster.meta.host);
  }

  /** Mends everything. */
  mend(): void {
    this.#isOver = true;
    for (const undo of [...this.#open]) undo();
  }

  get #machines(): readonly Machine[] {
    const { meta, stores, clients } = this.parts.cluster;
    return [meta, ...stores, ...clients];
  }

  #next(): void {
    const { scheduler } = this.parts;
    const { chance } = scheduler;
    scheduler.after(chance.next() * chance.next() * 3 * this.#pauseMs, "fault", undefined, () => {
      if (this.#isOver) return;
      this.#inject(this.#kinds[chance.below(this.#kinds.length)]!);
      this.#next();
    });
  }

  #inject(kind: Kind): void {
    const { scheduler, network, cluster } = this.parts;
    const { chance } = scheduler;
    const { meta, stores, clients } = cluster;
    const machines = this.#machines;
    switch (kind) {
      case "kill":
      case "power":
        return this.#crash(pick(chance, machines), kind === "power");
      case "blackout": {
        // Everything but some clients at once; not before the machines are up again from the one before.
        if (machines.some(({ isUp }) => !isUp)) return;
        for (const machine of machines) if (!clients.includes(machine as ClientMachine)) this.#crash(machine, true);
        for (const client of clients) if (chance.happens(0.5)) this.#crash(client, true);
        return;
      }
      case "cut": {
        const one = pick(chance, machines);
        const others = machines.filter((machine) => machine !== one && chance.happens(0.6));
        const abruptly = chance.happens(0.3);
        for (const { host } of others) network.cut(one.host, host, abruptly);
        const heal = () => others.forEach(({ host }) => network.heal(one.host, host));
        return this.#for(`cut ${one.host} from ${others.map(({ host }) => host).join(",")}`, [one, ...others], heal);
      }
      case "alone":
        return this.#alone(pick(chance, clients));
      case "break":
        return this.#break();
      case "stall": {
        const { life, host } = pick(chance, machines);
        if (life === undefined) return;
        const ms = pick(chance, LASTS_MS) * chance.next();
        life.stalledUntilMs = scheduler.nowMs + ms;
        return this.#for(`stall ${host} for ${ms.toFixed(0)} ms`, machines, () => (life.stalledUntilMs = 0), ms);
      }
      case "clock": {
        const machine = pick(chance, machines);
        machine.wallOffsetMs += (chance.next() - 0.5) * pick(chance, [500, 60_000, 7_200_000]);
        return scheduler.note(`clock of ${machine.host} jumps`);
      }
      case "rot": {
        const { store, node } = this.#rotting ?? {};
        const path = store?.isUp === true && node !== undefined ? store.rot(node) : undefined;
        if (path === undefined || node === undefined) return;
        this.#mayHaveLost(node);
        return scheduler.note(`rot ${node.name} ${path}`);
      }
      case "fsync": {
        const store = pick(chance, stores);
        return this.#ail(store, pick(chance, store.nodes), kind);
      }
      case "read":
        return this.#rotting && this.#ail(this.#rotting.store, this.#rotting.node, kind);
      case "drain":
        return this.#drain(pick(chance, pick(chance, stores).nodes));
      case "full": {
        const full = chance.happens(0.3) ? stores : [pick(chance, stores)];
        full.forEach((store) => store.fill(true));
        const what = `full ${full.map(({ host }) => host).join(",")}`;
        // For long enough that writers are told, when there is no other place.
        const ms = full === stores ? FULL_MS * chance.next() : undefined;
        return this.#for(what, machines, () => full.forEach((store) => store.fill(false)), ms);
      }
      case "commit":
        meta.failsToCommit = true;
        return this.#for("a commit fails", machines, () => (meta.failsToCommit = false), 5_000);
      case "slow":
        network.slowMs = pick(chance, [0.2, 20, 200]);
        return this.#for(`slow network: ${network.slowMs} ms`, machines, () => (network.slowMs = 2));
    }
  }

  /** It has much in its caches, and does not hear what others change. */
  #alone({ host }: ClientMachine): void {
    const { scheduler, network, cluster, watch } = this.parts;
    const meta = cluster.meta.host;
    if (cluster.clients.some((client) => network.isCut(client.host, meta))) return;
    watch.everything(host);
    scheduler.after(LOOKS_MS, "fault", undefined, () => {
      if (this.#isOver) return;
      network.cut(host, meta, false);
      const ms = ALONE_MS.min + scheduler.chance.next() * (ALONE_MS.max - ALONE_MS.min);
      this.#for(`${host} is alone`, [cluster.meta], () => network.heal(host, meta), ms);
    });
  }

  #break(between?: readonly [string, string]): void {
    const { network } = this.parts;
    const broken = network.breakOne(between) ?? "nothing";
    this.#for(`break ${broken}`, this.#machines, () => {}, 500);
  }

  /** Down for a while. */
  #crash(machine: Machine, power: boolean): void {
    const { cluster } = this.parts;
    if (!machine.isUp) return;
    const { host } = machine;
    this.#for(`down ${host}`, machine === cluster.meta ? cluster.clients : [machine], () => machine.start());
    machine.crash(power);
    const store = power ? cluster.stores.find((one) => one === machine) : undefined;
    for (const node of store?.nodes ?? []) this.#mayHaveLost(node);
  }

  /** A disk fails until it is mended: some of what is written, or read, fails meanwhile. */
  #ail(store: StoreMachine, node: SimNode, ailment: Ailment): void {
    if (store.isAiling) return;
    store.ail(node, ailment);
    this.#mayHaveLost(node);
    this.#for(`${ailment} fails on ${node.name}`, this.#machines, () => {
      this.#mayHaveLost(node);
      store.heal();
    });
  }

  /** Nothing may fail by that. Some nodes are to be used again after a while, the others stay empty. */
  #drain({ name }: SimNode): void {
    const { scheduler, operator } = this.parts;
    const { chance } = scheduler;
    if (this.#isDraining) return;
    this.#isDraining = true;
    const drained = operator.drain(name);
    if (chance.happens(0.5)) return;
    scheduler.after(chance.next() * pick(chance, LASTS_MS), "keep", undefined, () => {
      void drained.then(() => operator.keep(name)).then(() => (this.#isDraining = false));
    });
  }

  /** Of what that node has and was not durable until now it may have no copy any more. */
  #mayHaveLost({ name }: SimNode): void {
    this.parts.model.cuts.push({ host: name, ms: this.parts.scheduler.nowMs });
  }

  /** Trouble for these until it is undone, by itself after a while. */
  #for(what: string, affected: readonly Machine[], undo: () => void, ms?: number): void {
    const { scheduler, model, cluster } = this.parts;
    scheduler.note(`fault: ${what}`);
    const clients = cluster.clients.filter((client) => affected.includes(client) || affected.includes(cluster.meta));
    for (const { host } of clients) model.troubled(host);
    const mend = (): void => {
      if (!this.#open.delete(mend)) return;
      scheduler.note(`mended: ${what}`);
      undo();
      this.mendedMs = scheduler.nowMs;
      if (this.#open.size === 0) for (const { host } of cluster.clients) model.quiet(host);
    };
    this.#open.add(mend);
    scheduler.after(ms ?? scheduler.chance.next() * pick(scheduler.chance, LASTS_MS), "mend", undefined, mend);
  }
}

function pick<T>(chance: Chance, of: readonly T[]): T {
  return of[chance.below(of.length)]!;
}
