import type { Logger } from "pino";
import type { ChunkMessage } from "../../proto/chunk-codec.js";
import { FsError, errnoOf, fail, type Errno } from "../../proto/errno.js";
import type { ChunkReply, ChunkRequest, GetBackup, GetChunk, PutChunk } from "../../proto/gen/bigfs/v1/store.js";
import { LIMITS } from "../../proto/limits.js";
import type { Clock } from "../common/clock.js";
import type { OperationTimes } from "../common/metrics.js";
import { thisProcess } from "../common/process.js";
import type { Rate } from "../common/rate.js";
import type { Link } from "../common/rpc/link.js";
import type { ChunkStore } from "./chunk-store.js";
import type { Backups } from "./backups.js";
import { heldIn } from "./inventory.js";
import { Intake, Valve } from "./intake.js";
import { Budget } from "./parallel.js";
import { TooFewCopies, type Puts } from "./puts.js";
import type { Reports } from "./reports.js";

export type ChunkLink = Link<ChunkMessage<ChunkReply>, ChunkMessage<ChunkRequest>>;

/** A node that this daemon is. */
export interface ServedNode {
  /** Its id in the volume; 0: it has none yet. */
  readonly id: number;
  /** Absolute path of its data folder, and the folder's uuid. */
  readonly data: string;
  readonly uuid: string;
  readonly store: ChunkStore;
  readonly puts: Puts;
  readonly reports: Reports;
  /** Bytes of the largest chunk; undefined: it has not joined yet. */
  readonly chunkSize: number | undefined;
  /** Bytes of chunks. */
  readonly written: Rate;
  readonly read: Rate;
  readonly backups: Backups;
}

export interface ChunkServerParts {
  /** Those that are served now. */
  readonly nodes: () => readonly ServedNode[];
  readonly times: OperationTimes;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface ChunkServerOptions {
  /** A client that takes nothing for so long is hung up on. */
  readonly stuckMs: number;
}

type Op = NonNullable<ChunkRequest["op"]>;
type BackupOp = Exclude<Op, { $case: "put" | "get" | "verify" | "locate" | "listQuarantine" | "listHeld" }>;

/** Bytes of chunks that have arrived and are not stored yet, from clients and from other nodes. */
const INTAKE_BYTES = 24 * 1024 * 1024;
/** Bytes that are being read for answers, in all. */
const READ_BYTES = 32 * 1024 * 1024;
/** Bytes of answers that one stream may have waiting. */
const ANSWER_BYTES = 8 * 1024 * 1024;
/** Requests of one stream that may wait for an answer. */
const REQUESTS = 1024;

/** Files of one answer. */
const QUARANTINE_PAGE = 500;

/** What one stream may make this node hold. */
interface Bounds {
  /** Chunks that have arrived, together with other streams of its kind. */
  readonly chunks: Intake;
  /** Its own requests without an answer. */
  readonly requests: Intake;
  /** Bytes of its answers. */
  readonly answers: Budget;
  /** The stream is closed: nobody waits for answers. */
  isGone: boolean;
}

/** Answers the Chunks streams of clients and of other nodes. */
export class ChunkServer {
  readonly #clients = new Intake(INTAKE_BYTES);
  readonly #nodes = new Intake(INTAKE_BYTES);
  readonly #reads = new Budget(READ_BYTES);
  readonly #running = new Set<Promise<void>>();
  #isStopping = false;

  constructor(
    private readonly parts: ChunkServerParts,
    private readonly opts: ChunkServerOptions,
  ) {}

  serve(link: ChunkLink): void {
    const chunks = link.peer.role === "store" ? this.#nodes : this.#clients;
    const bounds = { chunks, requests: new Intake(REQUESTS), answers: new Budget(ANSWER_BYTES), isGone: false };
    const valve = new Valve(link);
    chunks.add(valve);
    bounds.requests.add(valve);
    link.open({
      message: (request) => {
        const run = this.#handle(link, request, bounds).finally(() => this.#running.delete(run));
        this.#running.add(run);
      },
      closed: () => {
        bounds.isGone = true;
        chunks.remove(valve);
      },
    });
  }

  /** Refuses what comes from now on; resolves when what came before is answered. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await Promise.all(this.#running);
  }

  /** Never rejects. */
  async #handle(link: ChunkLink, request: ChunkMessage<ChunkRequest>, bounds: Bounds): Promise<void> {
    const { id, op } = request.header;
    const weight = request.payload.length;
    const release = (): void => bounds.chunks.gave(weight);
    // A put gives the bytes back itself: copies may be under way when it is answered, or long before.
    let isLent = false;
    const lend = (): (() => void) => {
      isLent = true;
      return release;
    };
    bounds.chunks.took(weight);
    bounds.requests.took(1);
    try {
      if (this.#isStopping) fail("EIO", "this node is stopping");
      if (op === undefined) fail("EOPNOTSUPP", "this node does not know that request");
      await this.parts.times.timed(nameOf(op), async () => {
        const node = this.#nodeFor(request.header.node, op);
        if (op.$case === "get") await this.#get(link, id, node, op.value, bounds);
        else if (op.$case === "verify") this.#answer(link, id, await node.store.verify(op.value.chunk));
        else if (op.$case === "locate") this.#answer(link, id, whereabouts(node));
        else if (op.$case === "listQuarantine") await this.#listQuarantine(link, id, node, op.value.after);
        else if (op.$case === "listHeld") this.#answer(link, id, { held: await heldIn(node.store, op.value) });
        else if (op.$case !== "put") await this.#backup(link, request.header, op, request.payload);
        else this.#answer(link, id, { nodes: await this.#put(node, op.value, request.payload, lend) });
      });
    } catch (error) {
      this.#refuse(link, id, error);
    } finally {
      if (!isLent) release();
      bounds.requests.gave(1);
    }
  }

  /** The node that is meant; of a request that does not say so (of an older build), one that can answer it. */
  #nodeFor(id: number | undefined, op: NonNullable<ChunkRequest["op"]>): ServedNode {
    const nodes = this.parts.nodes();
    if (id !== undefined) return nodes.find((node) => node.id === id) ?? fail("EIO", `node ${id} is not here`);
    const can = (node: ServedNode): boolean => {
      if (op.$case === "locate") return node.uuid === op.value.uuid;
      return (op.$case === "get" || op.$case === "verify") && node.store.entry(op.value.chunk) !== undefined;
    };
    return nodes.find(can) ?? nodes[0] ?? fail("EIO", "no data folder is served");
  }

  async #listQuarantine(link: ChunkLink, id: number, { store }: ServedNode, after: string): Promise<void> {
    if (link.peer.role !== "meta") fail("EACCES", "only the metadata daemon asks what lies in quarantine");
    const { files, next } = await store.quarantined.list(after, QUARANTINE_PAGE);
    const { folder } = store.quarantined;
    const quarantine = { folder, files: [...files], last: next === undefined, next: next ?? "" };
    this.#answer(link, id, { quarantine });
  }

  async #backup(link: ChunkLink, { id, node }: ChunkRequest, op: BackupOp, payload: Buffer): Promise<void> {
    // Everybody else has nothing to do with them.
    if (link.peer.role !== "meta") fail("EACCES", "backups are the metadata daemon's");
    // Whoever looks for a lost volume knows of no nodes, only of their daemons.
    const all = node === undefined ? this.parts.nodes() : [this.#nodeFor(node, op)];
    const [first] = all;
    if (first === undefined) fail("EIO", "no data folder is served");
    switch (op.$case) {
      case "putBackup":
        await first.backups.put(op.value, payload);
        return this.#answer(link, id, {});
      case "listBackups": {
        const lists = await Promise.all(all.map(({ backups }) => backups.list()));
        return this.#answer(link, id, { backups: { files: lists.flat() } });
      }
      case "getBackup": {
        const data = await getBackup(all, op.value);
        return this.#answer(link, id, { len: data.length }, data);
      }
      case "removeBackups":
        await first.backups.remove(op.value.names);
        return this.#answer(link, id, {});
    }
  }

  /** The nodes that hold it now. Who is lent the payload calls what it got when it is needed no more. */
  async #put(node: ServedNode, put: PutChunk, data: Buffer, lend: () => () => void): Promise<number[]> {
    const { store, puts, reports } = node;
    const most = node.chunkSize ?? fail("EIO", "this node has not joined its volume yet");
    if (data.length > most) fail("EINVAL", `${data.length} bytes, a chunk has at most ${most}`);
    node.written.note(data.length);
    if (put.copy) {
      await store.put({ id: put.chunk, crc: put.crc, data, sync: put.sync });
      // The primary may have stopped waiting; then nobody but this node says that the copy is here.
      reports.copied(put.chunk);
      return [reports.self];
    }
    const standing = await puts.primary(put, data, lend()).catch((error: unknown) => {
      // Nobody registers it. Unless metadata knows of it, its space would not come back before this node joins anew.
      if (error instanceof TooFewCopies) reports.copied(put.chunk);
      throw error;
    });
    await reports.register(standing);
    return [reports.self, ...standing.others];
  }

  async #get(link: ChunkLink, id: number, node: ServedNode, get: GetChunk, bounds: Bounds): Promise<void> {
    const { store } = node;
    const length = store.entry(get.chunk)?.len ?? 0;
    const bytes = Math.min(get.len, Math.max(0, length - get.off), LIMITS.chunkSizeMax);
    await bounds.answers.run(bytes, async () => {
      if (bounds.isGone) return;
      const data = await this.#reads.run(bytes, () => store.get(get.chunk, get.off, get.len));
      node.read.note(data.length);
      this.#answer(link, id, { len: data.length }, data);
      await this.#taken(link);
    });
  }

  /** Resolves when the other side has taken enough of what it was sent, or is gone. */
  async #taken(link: ChunkLink): Promise<void> {
    if (!link.congested) return;
    const cancel = this.parts.clock.after(this.opts.stuckMs, () =>
      link.close(new FsError("ETIMEDOUT", "the other side takes no answers")),
    );
    await link.drained();
    cancel();
  }

  #answer(link: ChunkLink, id: number, answer: Partial<ChunkReply>, payload: Buffer = Buffer.alloc(0)): void {
    const nothing = { errno: "", detail: "", nodes: [], len: 0, crc: 0, process: undefined, folder: "", uuid: "" };
    link.send({ header: { id, ...nothing, ...answer }, payload });
  }

  #refuse(link: ChunkLink, id: number, error: unknown): void {
    const errno: Errno = errnoOf(error);
    const detail = error instanceof FsError ? error.detail : "internal error";
    if (!(error instanceof FsError)) this.parts.log.error({ err: error }, "a request could not be handled");
    const nodes = error instanceof TooFewCopies ? [...error.stood] : [];
    this.#answer(link, id, { errno, detail, nodes });
  }
}

function whereabouts({ data: folder, uuid }: ServedNode): Partial<ChunkReply> {
  return { process: thisProcess(), folder, uuid };
}

function nameOf(op: NonNullable<ChunkRequest["op"]>): string {
  return op.$case === "put" && op.value.copy ? "copy" : op.$case;
}

/** From the first of these nodes that has the file. */
async function getBackup(nodes: readonly ServedNode[], file: GetBackup): Promise<Buffer> {
  for (const { backups } of nodes) {
    if ((await backups.list()).some(({ name }) => name === file.name)) return backups.get(file);
  }
  return fail("ENOENT", file.name);
}
