import { FsError } from "../../proto/errno.js";
import type { Commit } from "../../proto/gen/bigfs/v1/meta.js";
import type { Clock } from "../common/clock.js";
import type { Cluster } from "./cluster/cluster.js";
import type { Compaction } from "./compaction.js";
import type { Executor } from "./executor.js";
import type { FilesService } from "./files-service.js";
import { key } from "./keys.js";
import type { OperationsService } from "./operations-service.js";
import type { Call, Outcome } from "./requests.js";
import { wantCopies } from "./rules/replica-change.js";
import { countChunks } from "./rules/slices.js";
import { UNSYNCED_MAX, pruneUnsynced } from "./rules/unsynced.js";
import type { Sharing } from "./sharing.js";

export interface CommitServiceParts {
  readonly executor: Executor;
  readonly cluster: Pick<Cluster, "chunkAvailable" | "ensureSynced">;
  readonly clock: Clock;
  readonly compaction: Compaction;
  readonly operations: OperationsService;
  readonly files: Pick<FilesService, "unsynced">;
  readonly sharing: Pick<Sharing, "stored">;
}

/** What is synced first when a file has too many chunks that are not. */
const SYNCED_AT_ONCE = 512;
/** Entries that one pruneUnsynced() drops. */
const PRUNED_AT_ONCE = 64;
/** What a commit lacks was there when looked for, and then was not: nothing wakes it, so it looks again. */
const PAUSE_MS = 50;

/** Commits of slices, which wait until their chunks stand; and compactions, which wait until theirs are synced. */
export class CommitService {
  constructor(
    private readonly parts: CommitServiceParts,
    private readonly opts: { readonly ioDeadlineMs: number },
  ) {}

  async handle(call: Call): Promise<Outcome> {
    if (call.op.$case !== "commit") throw new Error(call.op.$case);
    const { operations, clock, sharing } = this.parts;
    // Repeated, it stands in its place already.
    const before = call.frame.replay === undefined ? sharing.stored(call.op.value.ino, call.session.id) : undefined;
    if (before !== undefined) await before;
    const fixed = await operations.fix(call);
    const untilMs = call.startedMs + this.opts.ioDeadlineMs;
    for (let tries = 1; ; tries++) {
      try {
        const outcome = await operations.run(call, fixed);
        return call.op.value.sync ? this.#andSync(call, call.op.value.ino, outcome) : outcome;
      } catch (error) {
        if (!(error instanceof FsError) || error.errno !== "EAGAIN") throw error;
        if (clock.monotonicMs() >= untilMs) throw new FsError("EIO", error.detail, { cause: error });
      }
      if (tries > 1) await new Promise<void>((resolve) => clock.after(PAUSE_MS, resolve));
      await this.#improve(call.op.value);
    }
  }

  /** The new chunk has to be on disks before it takes the place of others, which may be. */
  async compact(call: Call): Promise<Outcome> {
    if (call.op.$case !== "compact") throw new Error(call.op.$case);
    const { executor, cluster, compaction, operations } = this.parts;
    const { ino, slot, after } = call.op.value;
    const chunks = [...countChunks(after).keys()];
    await executor.execute(0, (tx) => wantCopies(tx, ino, chunks));
    await cluster.ensureSynced(chunks);
    const outcome = await operations.handle(call);
    const { op } = outcome.answer();
    if (op.$case === "compact" && op.value.done) compaction.compacted(key.slot(ino, slot));
    return outcome;
  }

  /**
   * When no chunk of the file waits for a disk, what the answer waits for anyway is all that an Fsync would wait for. For
   * chunks it does not wait: other commits of the file wait for this answer.
   */
  #andSync(call: Call, ino: number, outcome: Outcome): Outcome {
    let isSynced = false;
    const look = this.parts.files.unsynced(call.session, ino).then(
      (chunks) => (isSynced = chunks.length === 0),
      () => undefined,
    );
    return {
      waits: [...outcome.waits, look],
      answer() {
        const { op, stamp } = outcome.answer();
        if (op.$case !== "commit") throw new Error(op.$case);
        return { op: { $case: "commit", value: { ...op.value, synced: isSynced } }, stamp };
      },
    };
  }

  /** Waits for whatever may be the reason. */
  async #improve(commit: Commit): Promise<void> {
    const { executor, cluster } = this.parts;
    const chunks = new Set(
      commit.slices.flatMap(({ slice }) => (slice === undefined || !slice.chunk ? [] : slice.chunk)),
    );
    await executor.execute(0, (tx) => wantCopies(tx, commit.ino, [...chunks]));
    await cluster.chunkAvailable([...chunks]);
    const { value: unsynced } = await executor.execute(0, (tx) => tx.get(key.unsynced(commit.ino))?.chunks ?? []);
    if (unsynced.length + chunks.size <= UNSYNCED_MAX) return;
    await cluster.ensureSynced(unsynced.slice(0, SYNCED_AT_ONCE));
    for (let done = 0; done < SYNCED_AT_ONCE; done += PRUNED_AT_ONCE) {
      await executor.execute(0, (tx) => pruneUnsynced(tx, commit.ino));
    }
  }
}
