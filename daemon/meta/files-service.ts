import { FsError } from "../../proto/errno.js";
import type { Cluster } from "./cluster/cluster.js";
import type { Executor } from "./executor.js";
import { key } from "./keys.js";
import { plain, type Call, type Outcome } from "./requests.js";
import { mustInode } from "./rules/inodes.js";
import type { Session } from "./session.js";
import { takeChunkRange } from "./rules/ranges.js";
import { pruneUnsynced } from "./rules/unsynced.js";

export interface FilesServiceParts {
  readonly executor: Executor;
  readonly cluster: Pick<Cluster, "map" | "capacity" | "ensureSynced">;
}

/** Requests about chunks and space. */
export class FilesService {
  constructor(private readonly parts: FilesServiceParts) {}

  /** A range of chunk ids, on disk before it is given. */
  async alloc(call: Call): Promise<Outcome> {
    if (call.session.readOnly) throw new FsError("EROFS");
    const { executor, cluster } = this.parts;
    const { session } = call;
    const { value: range, batch } = await executor.execute(0, (tx) => {
      if (session.isEnded) throw new FsError("ESTALE", "the session has ended");
      return takeChunkRange(tx, session.id);
    });
    const { first, count } = range;
    executor.neverWritten(Array.from({ length: count }, (_, i) => key.chunk(first + i)));
    return {
      waits: [executor.whenDurable(batch)],
      answer: () => ({ op: { $case: "alloc", value: { first, count, map: cluster.map() } } }),
    };
  }

  /** Everything that was done before it, by anybody, with this file and by this session, is on disk when it is answered. */
  async fsync(call: Call): Promise<Outcome> {
    if (call.op.$case !== "fsync") throw new Error(call.op.$case);
    const { ino } = call.op.value;
    const chunks = await this.unsynced(call.session, ino);
    return plain({ $case: "fsync", value: {} }, [this.#synced(ino, chunks), this.parts.executor.drained()]);
  }

  /** Chunks of the file that may be on no disk yet. */
  async unsynced(session: Session, ino: number): Promise<readonly number[]> {
    const { value } = await session.execute((tx) => {
      if (!mustInode(tx, ino).hasUnsynced) return [];
      return tx.get(key.unsynced(ino))?.chunks ?? [];
    });
    return value;
  }

  async statfs(): Promise<Outcome> {
    const { executor, cluster } = this.parts;
    const { value: usage } = await executor.execute(0, (tx) => tx.get(key.usage));
    return plain({ $case: "statfs", value: { ...cluster.capacity(), inodes: usage?.inodes ?? 0 } });
  }

  async #synced(ino: number, chunks: readonly number[]): Promise<void> {
    if (chunks.length === 0) return;
    const { executor, cluster } = this.parts;
    await cluster.ensureSynced([...new Set(chunks)]);
    await executor.execute(0, (tx) => pruneUnsynced(tx, ino));
  }
}
