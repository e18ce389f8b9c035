/** A machine with chunks: a storage daemon, and a disk that may rot, fail, fill up and lose its power. */
import { Registry } from "prom-client";
import { Layout } from "../../daemon/common/chunks/layout.js";
import { writeDurably } from "../../daemon/common/durable.js";
import type { Running } from "../../daemon/common/running.js";
import { serveStore } from "../../daemon/store/daemon.js";
import type { DataFolder, Identity } from "../../daemon/store/identity.js";
import { MemoryDisk, type Verdict } from "../unit/store/memory-disk.js";
import { META, Machine, RESTART_MS, optionsOf, sharedOf, type Lab } from "./machines.js";
import type { Life } from "./scheduler.js";

/** A data folder, and what the metadata daemon calls the node that it is. */
export interface SimNode {
  readonly name: string;
  readonly data: string;
}

/** What of a failing disk fails: to keep what was written, or to read it. */
export type Ailment = "fsync" | "read";

const LOAD = { cpu: 0, memory: 0 };
const FOLDERS = ["/data", "/data2"];
const FAILING_CALLS: Record<Ailment, ReadonlySet<string>> = {
  fsync: new Set(["fsync", "sync"]),
  read: new Set(["read", "open"]),
};
/** Calls of a failing disk that fail. */
const FAILING_SHARE = 0.6;

export class StoreMachine extends Machine {
  readonly nodes: readonly SimNode[];
  isFull = false;
  /** Nodes whose bytes have rotted, or were not to be read. */
  readonly rotted = new Set<SimNode>();
  /** There is a reason to put chunks aside. */
  mayPutAside = false;
  readonly disk = new MemoryDisk(() => {
    const { chance } = this.lab.scheduler;
    return this.life!.takes(0.05 + chance.next() * (chance.happens(0.02) ? 100 : 3), "disk");
  });
  running: Running | undefined;
  #ailing: { readonly data: string; readonly ailment: Ailment } | undefined;

  /** `folders`: how many data folders it has. */
  constructor(lab: Lab, host: string, folders: number) {
    super(lab, host);
    this.nodes = FOLDERS.slice(0, folders).map((data) => ({ name: folders === 1 ? host : `${host}:${data}`, data }));
  }

  get address(): string {
    return `${this.host}:1`;
  }

  /** The disk is full from now on, or has room again. */
  fill(isFull: boolean): void {
    this.isFull = isFull;
    this.disk.freeBytes = isFull ? 0 : 2 ** 40;
  }

  /** Chunk files of a node, by id. */
  chunkFiles({ data }: SimNode): Map<number, string> {
    const { folders } = new Layout(data);
    const paths = folders.flatMap((folder) => this.disk.filesIn(folder).map((name) => `${folder}/${name}`));
    return new Map(paths.map((path) => [parseInt(path.slice(-22, -6), 16), path]));
  }

  quarantined(): string[] {
    return this.nodes.flatMap(({ data }) => this.disk.filesIn(new Layout(data).quarantine));
  }

  /** A bit of a chunk file flips; what file. */
  rot(node: SimNode): string | undefined {
    const { chance } = this.lab.scheduler;
    const paths = [...this.chunkFiles(node).values()];
    const path = paths[chance.below(paths.length)];
    if (path === undefined) return undefined;
    const bytes = Buffer.from(this.disk.peek(path));
    const at = chance.below(bytes.length);
    if (bytes.length > 0) bytes[at] = bytes[at]! ^ (1 << chance.below(8));
    this.disk.poke(path, bytes);
    this.rotted.add(node);
    this.mayPutAside = true;
    return path;
  }

  get isAiling(): boolean {
    return this.#ailing !== undefined;
  }

  /** The disk of that node begins to fail. */
  ail(node: SimNode, ailment: Ailment): void {
    this.#ailing = { data: node.data, ailment };
    if (ailment === "read") this.rotted.add(node);
    this.mayPutAside = true;
  }

  /** It is good again, and the daemon is started on it, as it asks for. */
  heal(): void {
    this.#ailing = undefined;
    if (!this.isUp) return;
    this.crash(false);
    this.start();
  }

  protected async begin(life: Life): Promise<void> {
    const { lab, host, disk } = this;
    disk.verdict = (label, path) => this.#verdict(label, path);
    const folders = new Map<string, DataFolder>();
    for (const { data } of this.nodes) folders.set(data, await this.#folder(data, life));
    const openFolder = (data: string): Promise<DataFolder> => Promise.resolve(folders.get(data)!);
    const load = (own: object) => ({ ...LOAD, ...own }) as ReturnType<Parameters<typeof serveStore>[0]["load"]>;
    const data = this.nodes.map((node) => node.data);
    const running = await serveStore(
      { openFolder, disk, registry: new Registry(), ...sharedOf(lab, life), load },
      { ...optionsOf(lab, life), data, meta: META, listen: this.address, zone: host, name: host, reserve: 0 },
    );
    this.running = running;
    const cause = await running.ended;
    if (cause !== undefined && !life.isDead) lab.violation(`${host} is refused: ${cause.message}`);
  }

  /** On a disk that fails it may not; it is started again. */
  protected override failed(error: unknown): void {
    if (!this.isAiling) return super.failed(error);
    const { scheduler } = this.lab;
    scheduler.note(`${this.host} stops: ${String(error)}`);
    this.crash(false);
    scheduler.after(RESTART_MS, `restart ${this.host}`, undefined, () => this.start());
  }

  protected ended(power: boolean): void {
    const { chance } = this.lab.scheduler;
    this.running = undefined;
    if (power) this.mayPutAside = true;
    this.disk.restart(power ? (below) => chance.below(below) : undefined);
  }

  #verdict(label: string, path: string): Verdict {
    const ailing = this.#ailing;
    if (this.isFull && (label === "write" || label === "append")) return { code: "ENOSPC" };
    if (ailing === undefined || !`${path}/`.startsWith(`${ailing.data}/`)) return "do";
    const isHit = FAILING_CALLS[ailing.ailment].has(label) && this.lab.scheduler.chance.happens(FAILING_SHARE);
    return isHit ? { code: "EIO" } : "do";
  }

  async #folder(data: string, life: Life): Promise<DataFolder> {
    const { disk } = this;
    const path = new Layout(data).identity;
    const save = (value: Identity): Promise<void> => writeDurably(path, Buffer.from(JSON.stringify(value)), { disk });
    let identity: Identity;
    if (disk.filesIn(data).includes("identity.json")) {
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
