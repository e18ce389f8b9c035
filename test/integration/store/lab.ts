import { crc32 } from "node:zlib";
import { join } from "node:path";
import pino from "pino";
import type { Test } from "tap";
import { systemClock } from "../../../daemon/common/clock.js";
import { DEADLINES } from "../../../daemon/common/deadlines.js";
import type { Running } from "../../../daemon/common/running.js";
import { startStore } from "../../../daemon/store/daemon.js";
import type { StoreOptions } from "../../../daemon/store/options.js";
import { Peers } from "../../../daemon/store/peers.js";
import { Layout } from "../../../daemon/common/chunks/layout.js";
import type { ChunkReply, PutChunk, Target } from "../../../proto/gen/bigfs/v1/store.js";
import { dataOf } from "../../unit/store/chunks.js";
import { KEY, VOLUME, type FakeMeta } from "./fake-meta.js";

export interface Node {
  readonly id: number;
  readonly data: string;
  readonly layout: Layout;
  readonly running: Running;
  readonly target: Target;
}

/** Background fsyncs only when a test asks for them. */
const DEADLINES_OF_TESTS = { ...DEADLINES, reconnectMaxMs: 50, syncMs: 3_600_000 };

export function optionsFor(meta: FakeMeta | string, data: string): StoreOptions {
  return {
    data,
    meta: typeof meta === "string" ? meta : meta.listening,
    listen: "127.0.0.1:0",
    key: KEY,
    reserve: 0,
    deadlines: DEADLINES_OF_TESTS,
    log: pino({ level: "silent" }),
    clock: systemClock,
  };
}

/** Starts a storage daemon that has joined; stopped with the test. */
export async function startNode(
  t: Test,
  meta: FakeMeta,
  opts: Partial<Omit<StoreOptions, "data">> & { readonly data?: string } = {},
): Promise<Node> {
  const data = opts.data ?? join(t.testdir({}), "disk");
  const before = meta.heard.length;
  const running = await startStore({ ...optionsFor(meta, data), ...opts });
  t.teardown(() => running.stop());
  const since = () => meta.heard.slice(before);
  await meta.until(() => since().some(({ op }) => op.$case === "inventory" && op.value.last));
  const id = since().find(({ op }) => op.$case === "inventory")?.node ?? 0;
  return { id, data, layout: new Layout(data), running, target: { node: id, address: running.listen } };
}

/** Several, each in a folder of its own below the test's. */
export async function startNodes(
  t: Test,
  meta: FakeMeta,
  count: number,
  opts: Partial<Omit<StoreOptions, "data">> = {},
): Promise<Node[]> {
  const root = t.testdir({});
  const nodes: Node[] = [];
  for (let n = 1; n <= count; n++) nodes.push(await startNode(t, meta, { data: join(root, `disk${n}`), ...opts }));
  return nodes;
}

/** What a mount does with storage daemons. */
export class Client {
  readonly #peers: Peers;

  constructor(
    t: Test,
    private readonly ms = 20_000,
  ) {
    this.#peers = new Peers({ key: KEY, volume: () => VOLUME, connectMs: 2_000, clock: systemClock, role: "mount" });
    t.teardown(() => this.#peers.stop());
  }

  async put(to: Node, chunk: number, data: Buffer, opts: Partial<PutChunk> = {}): Promise<ChunkReply> {
    const value = {
      chunk,
      crc: crc32(data),
      forward: [],
      minCopies: 1,
      sync: false,
      copy: false,
      ...opts,
    };
    return (await this.#peers.ask(to.target, { $case: "put", value }, data, this.ms)).header;
  }

  async get(from: Node, chunk: number, off = 0, len = 2 ** 31): Promise<Buffer> {
    const value = { chunk, off, len };
    return (await this.#peers.ask(from.target, { $case: "get", value }, Buffer.alloc(0), this.ms)).payload;
  }

  async verify(on: Node, chunk: number): Promise<ChunkReply> {
    return (await this.#peers.ask(on.target, { $case: "verify", value: { chunk } }, Buffer.alloc(0), this.ms)).header;
  }
}

export { dataOf };
