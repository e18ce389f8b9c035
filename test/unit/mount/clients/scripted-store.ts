import type { Test } from "tap";
import { systemClock, type Clock } from "../../../../daemon/common/clock.js";
import { DEADLINES } from "../../../../daemon/common/deadlines.js";
import { createLog } from "../../../../daemon/common/log.js";
import { CHUNKS } from "../../../../daemon/common/rpc/kinds.js";
import type { Link } from "../../../../daemon/common/rpc/link.js";
import { RpcServer } from "../../../../daemon/common/rpc/server.js";
import { StoreClients } from "../../../../mount/clients/store-clients.js";
import type { ChunkMessage } from "../../../../proto/chunk-codec.js";
import type { NodeInfo } from "../../../../proto/gen/bigfs/v1/node.js";
import type { ChunkReply, ChunkRequest, PutChunk } from "../../../../proto/gen/bigfs/v1/store.js";

const KEY = Buffer.alloc(32, 9);
const log = createLog("test", "silent");

/** Where a daemon says that its chunks are. */
type Located = Pick<ChunkReply, "process" | "folder">;
export type Answer = { readonly data?: Buffer; readonly errno?: string; readonly located?: Located } | "silence";
type StoreLink = Link<ChunkMessage<ChunkReply>, ChunkMessage<ChunkRequest>>;

/** A storage daemon that says what a test tells it to, over real gRPC. */
export class ScriptedStore {
  readonly puts: { readonly put: PutChunk; readonly data: Buffer }[] = [];
  gets = 0;
  streams = 0;
  /** What requests are answered with. */
  answer: (request: ChunkRequest) => Answer | Promise<Answer> = () => ({ data: Buffer.from("data") });
  readonly #links = new Set<StoreLink>();

  private constructor(readonly node: NodeInfo) {}

  static async start(t: Test, id: number, zone = `zone${id}`): Promise<ScriptedStore> {
    const server = new RpcServer({ key: KEY, log, clock: systemClock, volume: () => ({ uuid: "v", incarnation: 1 }) });
    const stores: ScriptedStore[] = [];
    server.handle(CHUNKS, (link) => stores[0]?.accept(link));
    const address = await server.listen("127.0.0.1:0");
    t.teardown(() => server.stop());
    const store = new ScriptedStore(nodeInfo(id, address, zone));
    stores.push(store);
    return store;
  }

  accept(link: StoreLink): void {
    this.streams++;
    this.#links.add(link);
    link.open({
      message: ({ header, payload }) => {
        if (header.op?.$case === "get") this.gets++;
        if (header.op?.$case === "put") this.puts.push({ put: header.op.value, data: Buffer.from(payload) });
        void this.#reply(link, header);
      },
      closed: () => this.#links.delete(link),
    });
  }

  /** Streams that are open. */
  get open(): number {
    return this.#links.size;
  }

  cut(): void {
    for (const link of this.#links) link.close();
  }

  async #reply(link: StoreLink, request: ChunkRequest): Promise<void> {
    const answer = await this.answer(request);
    if (answer === "silence") return;
    const { data = Buffer.alloc(0), errno = "", located = { process: undefined, folder: "" } } = answer;
    const nothing = { ...located, uuid: "", nodes: [], crc: 0 };
    const header = { ...nothing, id: request.id, errno, detail: "as told", len: data.length };
    link.send({ header, payload: data });
  }
}

export function nodeInfo(id: number, address: string, zone = `zone${id}`, state = "UP"): NodeInfo {
  const figures = { weight: 1, capacity: 1, used: 0, chunks: 0, load: undefined };
  return { id, name: `node${id}`, address, zone, state, uuid: `${id}`, ...figures };
}

export function clientsOf(
  t: Test,
  nodes: readonly NodeInfo[],
  opts: { clock?: Clock; zone?: string; shortCircuit?: boolean } = {},
): StoreClients {
  const { clock = systemClock, zone = "elsewhere", shortCircuit = false } = opts;
  const map = () => ({ version: 1, nodes: [...nodes] });
  const parts = { map, key: KEY, volume: "v", clock, log, deadlines: DEADLINES, zone, shortCircuit };
  const clients = new StoreClients(parts);
  t.teardown(() => clients.stop());
  return clients;
}
