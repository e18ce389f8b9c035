import { crc32 } from "node:zlib";
import { NO_PAYLOAD, type ChunkMessage } from "../../../proto/chunk-codec.js";
import { FsError, errnoFromWire } from "../../../proto/errno.js";
import type { BackupFile, ChunkReply, ChunkRequest } from "../../../proto/gen/bigfs/v1/store.js";
import type { Clock } from "../../common/clock.js";
import { CHUNKS } from "../../common/rpc/kinds.js";
import { grpc, type Network } from "../../common/rpc/network.js";
import type { Link } from "../../common/rpc/link.js";

export interface BackupNodeOptions {
  readonly key: Buffer;
  readonly connectMs: number;
  /** One question. */
  readonly answerMs: number;
  readonly clock: Clock;
  /** Uuid of the volume; undefined: any. */
  readonly volume?: string;
  /** Which node of the daemon there; undefined: whichever has the file. */
  readonly node?: number;
  readonly network?: Network;
}

const PIECE = 1024 * 1024;

type Stream = Link<ChunkMessage<ChunkRequest>, ChunkMessage<ChunkReply>>;
type Op = NonNullable<ChunkRequest["op"]>;

/** The metadata's files on one storage node. Rejects with the node's FsError, or as dial() does. */
export class BackupNode {
  #lastId = 0;
  #failure: FsError | undefined;
  readonly #waiting = new Map<number, (reply: ChunkMessage<ChunkReply> | FsError) => void>();

  private constructor(
    readonly address: string,
    private readonly link: Stream,
    private readonly opts: BackupNodeOptions,
  ) {
    link.open({
      message: (reply) => this.#waiting.get(reply.header.id)?.(reply),
      closed: (reason) => {
        this.#failure = reason;
        for (const settle of this.#waiting.values()) settle(reason);
      },
    });
  }

  static async connect(address: string, opts: BackupNodeOptions): Promise<BackupNode> {
    const { key, connectMs, clock, volume, network = grpc } = opts;
    const common = { key, role: "meta", connectMs, clock };
    return new BackupNode(
      address,
      await network.dial(CHUNKS, address, volume === undefined ? common : { ...common, volume }),
      opts,
    );
  }

  get node(): number | undefined {
    return this.opts.node;
  }

  /** Of the volume that the node belongs to. */
  get volume(): string {
    return this.link.peer.volume;
  }

  get isClosed(): boolean {
    return this.#failure !== undefined;
  }

  async list(): Promise<readonly BackupFile[]> {
    const { header } = await this.#ask({ $case: "listBackups", value: {} });
    return header.backups?.files ?? [];
  }

  /** Begins a file; it is there when `end` has resolved. */
  upload(name: string): Upload {
    return new Upload(name, async (piece, data) => {
      await this.#ask({ $case: "putBackup", value: piece }, data);
    });
  }

  async *download(name: string): AsyncGenerator<Buffer> {
    for (let off = 0; ;) {
      const { payload } = await this.#ask({ $case: "getBackup", value: { name, off, len: PIECE } });
      if (payload.length === 0) return;
      off += payload.length;
      yield payload;
    }
  }

  async remove(names: readonly string[]): Promise<void> {
    if (names.length > 0) await this.#ask({ $case: "removeBackups", value: { names: [...names] } });
  }

  close(): void {
    this.link.close();
  }

  async #ask(op: Op, payload = NO_PAYLOAD): Promise<ChunkMessage<ChunkReply>> {
    if (this.#failure !== undefined) throw this.#failure;
    const { clock, answerMs, node } = this.opts;
    const id = ++this.#lastId;
    let cancel = () => {};
    const reply = await new Promise<ChunkMessage<ChunkReply> | FsError>((resolve) => {
      this.#waiting.set(id, resolve);
      cancel = clock.after(answerMs, () => resolve(new FsError("ETIMEDOUT", `no answer from ${this.address}`)));
      this.link.send({ header: { id, op, ...(node === undefined ? {} : { node }) }, payload });
    });
    cancel();
    this.#waiting.delete(id);
    if (reply instanceof FsError) throw reply;
    const { errno, detail } = reply.header;
    if (errno !== "") throw new FsError(errnoFromWire(errno), `${this.address}: ${detail}`);
    return reply;
  }
}

type Piece = Extract<Op, { $case: "putBackup" }>["value"];

/** One file on its way to one node, piece by piece, each when the one before was answered. */
export class Upload {
  #off = 0;
  #crc = 0;

  constructor(
    private readonly name: string,
    private readonly put: (piece: Piece, data: Buffer) => Promise<void>,
  ) {}

  async add(data: Buffer): Promise<void> {
    for (let at = 0; at < data.length; at += PIECE) await this.#send(data.subarray(at, at + PIECE), false);
  }

  /** Resolves when the file is there, fsynced. */
  end(): Promise<void> {
    return this.#send(NO_PAYLOAD, true);
  }

  async #send(data: Buffer, last: boolean): Promise<void> {
    const off = this.#off;
    this.#off += data.length;
    this.#crc = crc32(data, this.#crc);
    await this.put({ name: this.name, off, last, crc: this.#crc }, data);
  }
}
