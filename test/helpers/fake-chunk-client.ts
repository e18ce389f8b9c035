import assert from "node:assert/strict";
import { crc32 } from "node:zlib";
import { FsError, type Errno } from "../../proto/errno.js";
import type { StoredChunk } from "../../proto/gen/bigfs/v1/node.js";
import type { ChunkClient } from "../../mount/vfs/ports.js";
import { settle } from "./fake-clock.js";
import type { Chance } from "./chance.js";

export interface FakeNode {
  readonly id: number;
  /** What it answers to everything; undefined: it works. */
  broken: Errno | undefined;
  /** Puts are refused with ENOSPC. */
  full: boolean;
  readonly chunks: Map<number, Buffer>;
}

/** Storage nodes in memory, shared by all clients of a test. */
export class FakeNodes {
  readonly nodes: FakeNode[];
  /** Share of puts and gets that fail although the node works. */
  failures = 0;
  /** Puts wait for this while it is there. */
  putGate: Promise<void> | undefined;
  puts = 0;
  putsAtOnce = 0;
  putsAtOnceMax = 0;
  gets = 0;
  bytesGot = 0;

  constructor(count: number) {
    this.nodes = Array.from({ length: count }, (_, i) => ({
      id: i + 1,
      broken: undefined,
      full: false,
      chunks: new Map<number, Buffer>(),
    }));
  }

  node(id: number): FakeNode {
    const node = this.nodes.find((n) => n.id === id);
    if (node === undefined) throw new Error(`there is no node ${id}`);
    return node;
  }
}

export interface FakeChunkParts {
  readonly nodes: FakeNodes;
  readonly chance: Chance;
  /** Tells the metadata what was stored. */
  readonly register: (stored: StoredChunk) => void;
}

/** ChunkClient over FakeNodes: late, failing now and then, and strict about buffers. */
export class FakeChunkClient implements ChunkClient {
  constructor(private readonly parts: FakeChunkParts) {}

  async put(chunk: Parameters<ChunkClient["put"]>[0]): Promise<void> {
    const { nodes, chance } = this.parts;
    const crc = crc32(chunk.data);
    nodes.puts += 1;
    nodes.putsAtOnce += 1;
    nodes.putsAtOnceMax = Math.max(nodes.putsAtOnceMax, nodes.putsAtOnce);
    try {
      await this.#late(chunk.signal);
      while (nodes.putGate !== undefined) await Promise.race([nodes.putGate, aborted(chunk.signal)]);
      const data = Buffer.from(chunk.data);
      const stored: number[] = [];
      let failure: Errno = "EIO";
      for (const id of chunk.nodes) {
        const node = nodes.node(id);
        const errno = node.broken ?? (node.full ? "ENOSPC" : undefined);
        if (errno === undefined && !chance.happens(nodes.failures)) {
          assert.equal(node.chunks.has(chunk.id), false, "a chunk id is used once");
          node.chunks.set(chunk.id, data);
          stored.push(id);
          continue;
        }
        failure = errno ?? "EIO";
        // The primary stores and forwards: without it there is nothing.
        if (id === chunk.nodes[0]) break;
      }
      await this.#late(chunk.signal);
      assert.equal(crc32(chunk.data), crc, "the bytes of a put changed while it was under way");
      if (stored.length < chunk.minCopies) throw new FsError(failure);
      const synced = chunk.sync ? stored : [];
      this.parts.register({ chunk: chunk.id, len: data.length, crc, nodes: stored, synced, pending: [] });
    } finally {
      nodes.putsAtOnce -= 1;
    }
  }

  async get(want: Parameters<ChunkClient["get"]>[0]): Promise<Buffer> {
    const { nodes, chance } = this.parts;
    nodes.gets += 1;
    await this.#late(undefined);
    let failure: Errno = "ENOENT";
    for (const id of want.nodes) {
      const node = nodes.node(id);
      const bytes = node.chunks.get(want.id);
      if (node.broken !== undefined || chance.happens(nodes.failures)) failure = node.broken ?? "EIO";
      else if (bytes !== undefined) {
        const got = Buffer.from(bytes.subarray(want.off, want.off + want.len));
        nodes.bytesGot += got.length;
        return got;
      }
    }
    throw new FsError(failure);
  }

  async stop(): Promise<void> {}

  async #late(signal: AbortSignal | undefined): Promise<void> {
    await settle(this.parts.chance.turns());
    if (signal?.aborted === true) throw new FsError("EINTR");
  }
}

function aborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    signal?.addEventListener("abort", () => reject(new FsError("EINTR")), { once: true });
  });
}
