/** The machines of a simulated cluster. Each runs the real daemon (or client) over a simulated network, clock and disk. */
import type { Logger } from "pino";
import { Registry } from "prom-client";
import { Layout } from "../../daemon/common/chunks/layout.js";
import type { Deadlines } from "../../daemon/common/deadlines.js";
import { writeDurably } from "../../daemon/common/durable.js";
import type { Running } from "../../daemon/common/running.js";
import { serveMeta } from "../../daemon/meta/daemon.js";
import { MemoryStore, type MemoryStoreOptions } from "../../daemon/meta/memory-store.js";
import { serveStore } from "../../daemon/store/daemon.js";
import type { DataFolder, Identity } from "../../daemon/store/identity.js";
import { openClient, type Client } from "../../mount/client.js";
import type { Vfs } from "../../mount/vfs/vfs.js";
import { MemoryDisk } from "../unit/store/memory-disk.js";
import type { SimNetwork } from "./network.js";
import { Life, type Scheduler } from "./scheduler.js";

/** What all machines of one simulation share. */
export interface Lab {
  readonly scheduler: Scheduler;
  readonly network: SimNetwork;
  readonly deadlines: Deadlines;
  readonly log: (host: string) => Logger;
  readonly volume: { readonly chunkSize: number; readonly replicas: number; readonly minReplicas: number };
  /** Something happened that must not, whatever fails. */
  readonly violation: (what: string) => void;
}

const KEY = Buffer.alloc(32, 7);
const META = "m:1";
const DATA = "/data";
/** A daemon that has stopped is started again. */
const RESTART_MS = 500;
const LOAD = { cpu: 0, memory: 0 };

export abstract class Machine {
  life: Life | undefined;
  /** How wrong its wall clock is. */
  wallOffsetMs = 0;

  constructor(
    protected readonly lab: Lab,
    readonly host: string,
  ) {}

  get nowMs(): number {
    return this.lab.scheduler.nowMs;
  }

  get isUp(): boolean {
    return this.life !== undefined;
  }

  start(): void {
    if (this.life !== undefined) return;
    const life = (this.life = new Life(this.lab.scheduler, this.host, () => this.wallOffsetMs));
    this.lab.scheduler.note(`start ${this.host}`);
    this.begin(life).catch((error: unknown) => {
      if (!life.isDead) this.failed(error);
    });
  }

  /** The process ends without a word; with `power`, so does the machine. */
  crash(power: boolean): void {
    const { life } = this;
    if (life === undefined) return;
    this.lab.scheduler.note(`${power ? "power" : "kill"} ${this.host}`);
    this.life = undefined;
    life.crash();
    this.lab.network.crashed(life, power);
    this.ended(power);
  }

  protected failed(error: unknown): void {
    this.lab.violation(`${this.host} does not start: ${String(error)}`);
  }

  protected abstract begin(life: Life): Promise<void>;
  protected abstract ended(power: boolean): void;
}

export class MetaMachine extends Machine {
  store = new MemoryStore();
  /** The next commit fails, as on a disk that breaks: the daemon stops. */
  failsToCommit = false;

  protected async begin(life: Life): Promise<void> {
    const { lab } = this;
    const { scheduler } = lab;
    const gate: NonNullable<MemoryStoreOptions["gate"]> = async (call, when) => {
      await life.takes(scheduler.chance.next() * (call === "commit" ? 5 : 0.5), `${when} ${call}`);
      if (call !== "commit" || when !== "before" || !this.failsToCommit) return;
      this.failsToCommit = false;
      throw new Error("the disk of the metadata fails");
    };
    this.store = this.store.crash({ gate });
    const space = { isLow: false, look: () => Promise.resolve() };
    const defer = (start: () => void): void => void life.clock.after(0, start);
    const running = await serveMeta(
      { store: this.store, space, registry: new Registry(), ...sharedOf(lab, life), defer },
      { ...optionsOf(lab, life), listen: META, create: lab.volume },
    );
    const cause = await running.ended;
    if (!life.isDead) this.failed(cause);
  }

  /** Then it is started again; one that never starts is seen by nobody being served. */
  protected override failed(error: unknown): void {
    const { scheduler } = this.lab;
    scheduler.note(`m stops: ${String(error)}`);
    this.crash(false);
    scheduler.after(RESTART_MS, "restart m", undefined, () => this.start());
  }

  protected ended(): void {
    this.store = this.store.crash({});
  }
}

export class StoreMachine extends Machine {
  /** Power cuts that its disk has seen, by simulated time. */
  readonly powerCuts: number[] = [];
  isFull = false;
  hasRotted = false;
  readonly disk = new MemoryDisk(() => {
    const { chance } = this.lab.scheduler;
    return this.life!.takes(0.05 + chance.next() * (chance.happens(0.02) ? 100 : 3), "disk");
  });
  running: Running | undefined;

  get address(): string {
    return `${this.host}:1`;
  }

  /** The disk is full from now on, or has room again. */
  fill(isFull: boolean): void {
    this.isFull = isFull;
    this.disk.freeBytes = isFull ? 0 : 2 ** 40;
  }

  /** Chunk files, by id. */
  chunkFiles(): Map<number, string> {
    const { folders } = new Layout(DATA);
    const paths = folders.flatMap((folder) => this.disk.filesIn(folder).map((name) => `${folder}/${name}`));
    return new Map(paths.map((path) => [parseInt(path.slice(-22, -6), 16), path]));
  }

  quarantined(): string[] {
    return this.disk.filesIn(new Layout(DATA).quarantine);
  }

  /** A bit of a chunk file flips; what file. */
  rot(): string | undefined {
    const { chance } = this.lab.scheduler;
    const paths = [...this.chunkFiles().values()];
    const path = paths[chance.below(paths.length)];
    if (path === undefined) return undefined;
    const bytes = Buffer.from(this.disk.peek(path));
    const at = chance.below(bytes.length);
    if (bytes.length > 0) bytes[at] = bytes[at]! ^ (1 << chance.below(8));
    this.disk.poke(path, bytes);
    this.hasRotted = true;
    return path;
  }

  protected async begin(life: Life): Promise<void> {
    const { lab, host, disk } = this;
    disk.verdict = (label) => (this.isFull && (label === "write" || label === "append") ? { code: "ENOSPC" } : "do");
    const folder = await this.#folder(life);
    const load = (own: object) => ({ ...LOAD, ...own }) as ReturnType<Parameters<typeof serveStore>[0]["load"]>;
    const running = await serveStore(
      { openFolder: () => Promise.resolve(folder), disk, registry: new Registry(), ...sharedOf(lab, life), load },
      { ...optionsOf(lab, life), data: DATA, meta: META, listen: this.address, zone: host, name: host, reserve: 0 },
    );
    this.running = running;
    const cause = await running.ended;
    if (cause !== undefined && !life.isDead) lab.violation(`${host} is refused: ${cause.message}`);
  }

  protected ended(power: boolean): void {
    const { chance, nowMs } = this.lab.scheduler;
    this.running = undefined;
    if (power) this.powerCuts.push(nowMs);
    this.disk.restart(power ? (below) => chance.below(below) : undefined);
  }

  async #folder(life: Life): Promise<DataFolder> {
    const { disk } = this;
    const path = new Layout(DATA).identity;
    const save = (value: Identity): Promise<void> => writeDurably(path, Buffer.from(JSON.stringify(value)), { disk });
    let identity: Identity;
    if (disk.filesIn(DATA).includes("identity.json")) {
      identity = JSON.parse(disk.peek(path).toString()) as Identity;
    } else {
      identity = { format: 1, uuid: life.random.uuid(), volume: "", node: 0 };
      await save(identity);
    }
    return {
      get identity() {
        return identity;
      },
      async adopt(volume, node) {
        if (identity.volume === volume && identity.node === node) return;
        const next = { ...identity, volume, node };
        await save(next);
        identity = next;
      },
      close: () => Promise.resolve(),
    };
  }
}

export class ClientMachine extends Machine {
  client: Client | undefined;
  /** How often the process was started, and sessions were opened. */
  lives = 0;
  sessions = 0;
  /** Called with each new session, and when the process has ended. */
  onLoss: (isCrash: boolean) => void = () => {};

  get fs(): Vfs | undefined {
    return this.client?.fs;
  }

  protected async begin(life: Life): Promise<void> {
    const { lab, host } = this;
    let isFirst = true;
    this.lives++;
    for (;;) {
      try {
        const client = await openClient({
          ...optionsOf(lab, life),
          ...{ meta: META, name: host, zone: host, permissions: "kernel", readOnly: false, shortCircuit: false },
          ...{ cacheBytes: 256 * 1024, dirtyBytes: 192 * 1024, registry: new Registry() },
          network: lab.network.of(life),
          onSession: () => {
            this.sessions++;
            if (!isFirst) lab.scheduler.note(`fenced ${host}`);
            if (!isFirst) this.onLoss(false);
            isFirst = false;
          },
        });
        if (!life.isDead) this.client = client;
        return;
      } catch (error) {
        // The daemon is not there yet.
        lab.scheduler.note(`no session for ${host}: ${String(error)}`);
        await life.takes(200, "retry");
      }
    }
  }

  protected ended(): void {
    this.client = undefined;
    this.onLoss(true);
  }
}

function optionsOf({ deadlines, log }: Lab, life: Life) {
  return { key: KEY, deadlines, log: log(life.host), clock: life.clock };
}

function sharedOf({ network }: Lab, life: Life) {
  return { network: network.of(life), random: life.random };
}
