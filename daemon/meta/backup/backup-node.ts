import { crc32 } from "node:zlib";
import type { BackupFile } from "../../../proto/gen/bigfs/v1/store.js";
import { NO_PAYLOAD } from "../../../proto/chunk-codec.js";
import { StoreCalls, type StoreCallsOptions, type StoreOp } from "../store-calls.js";

const PIECE = 1024 * 1024;

/** The metadata's files on one storage node. Rejects with the node's FsError, or as dial() does. */
export class BackupNode {
  private constructor(private readonly calls: StoreCalls) {}

  static async connect(address: string, opts: StoreCallsOptions): Promise<BackupNode> {
    return new BackupNode(await StoreCalls.connect(address, opts));
  }

  get address(): string {
    return this.calls.address;
  }

  get node(): number | undefined {
    return this.calls.node;
  }

  /** Of the volume that the node belongs to. */
  get volume(): string {
    return this.calls.volume;
  }

  get isClosed(): boolean {
    return this.calls.isClosed;
  }

  async list(): Promise<readonly BackupFile[]> {
    const { header } = await this.calls.ask({ $case: "listBackups", value: {} });
    return header.backups?.files ?? [];
  }

  /** Begins a file; it is there when `end` has resolved. */
  upload(name: string): Upload {
    return new Upload(name, async (piece, data) => {
      await this.calls.ask({ $case: "putBackup", value: piece }, data);
    });
  }

  async *download(name: string): AsyncGenerator<Buffer> {
    for (let off = 0; ;) {
      const { payload } = await this.calls.ask({ $case: "getBackup", value: { name, off, len: PIECE } });
      if (payload.length === 0) return;
      off += payload.length;
      yield payload;
    }
  }

  async remove(names: readonly string[]): Promise<void> {
    if (names.length > 0) await this.calls.ask({ $case: "removeBackups", value: { names: [...names] } });
  }

  close(): void {
    this.calls.close();
  }
}

type Piece = Extract<StoreOp, { $case: "putBackup" }>["value"];

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
