import { FsError } from "../../proto/errno.js";
import type { Cluster } from "./cluster/cluster.js";
import type { Executor } from "./executor.js";
import type { InodeIds } from "./ids.js";
import { key } from "./keys.js";
import { plain, type Call, type Outcome } from "./requests.js";
import { mustInode } from "./rules/inodes.js";
import type { Session } from "./session.js";
import { takeChunkRange } from "./rules/ranges.js";
import { pruneUnsynced } from "./rules/unsynced.js";

/** Inode ids that one request may get. */
const INODES_MAX = 256;

export interface FilesServiceParts {
  readonly executor: Executor;
  readonly cluster: Pick<Cluster, "map" | "capacity" | "ensureSynced">;
  readonly ids: InodeIds;
  /** Nothing new can be saved. */
  readonly isLow: () => boolean;
}

/** Requests about ids, chunks and space. */
export class FilesService {
  constructor(private readonly parts: FilesServiceParts) {}

  /** A range of inode ids. */
  async inodes(call: Call): Promise<Outcome> {
    if (call.op.$case !== "inodes") throw new Error(call.op.$case);
    if (call.session.readOnly) throw new FsError("EROFS");
    const { executor, ids, isLow } = this.parts;
    if (isLow()) throw new FsError("ENOSPC", "the disk of the metadata is nearly full: only deletions are accepted");
    const { first, count } = await ids.takeSome(Math.max(1, Math.min(call.op.value.count, INODES_MAX)));
    executor.neverWritten(Array.from({ length: count }, (_, i) => key.inode(first + i)));
    return plain({ $case: "inodes", value: { first, count } });
  }

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
