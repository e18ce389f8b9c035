/** The machines of a simulated cluster (those with chunks: store-machine.ts). Each runs the real daemon (or client) over a simulated network, clock and disk. */
import type { Logger } from "pino";
import { Registry } from "prom-client";
import type { Deadlines } from "../../daemon/common/deadlines.js";
import { serveMeta } from "../../daemon/meta/daemon.js";
import { MemoryStore, type MemoryStoreOptions } from "../../daemon/meta/memory-store.js";
import { openClient, type Client } from "../../mount/client.js";
import type { Vfs } from "../../mount/vfs/vfs.js";
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

export const KEY = Buffer.alloc(32, 7);
export const META = "m:1";
/** A daemon that has stopped is started again. */
export const RESTART_MS = 500;

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

export function optionsOf({ deadlines, log }: Lab, life: Life) {
  return { key: KEY, deadlines, log: log(life.host), clock: life.clock };
}

export function sharedOf({ network }: Lab, life: Life) {
  return { network: network.of(life), random: life.random };
}
