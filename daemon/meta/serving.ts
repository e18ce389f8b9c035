import type { Logger } from "pino";
import { FsError } from "../../proto/errno.js";
import type { Clock } from "../common/clock.js";
import type { Deadlines } from "../common/deadlines.js";
import { OperationTimes, type Registry } from "../common/metrics.js";
import type { Random } from "../common/random.js";
import { Task } from "../common/tasks.js";
import { Admin } from "./admin.js";
import type { Shipper } from "./backup/shipper.js";
import type { Cluster } from "./cluster/cluster.js";
import { CommitService } from "./commit-service.js";
import { Compaction } from "./compaction.js";
import type { AnswerOp } from "./connection.js";
import type { Executor } from "./executor.js";
import { FilesService } from "./files-service.js";
import { Mender } from "./fsck/mender.js";
import { Grants } from "./grants.js";
import { InodeIds } from "./ids.js";
import { Leases } from "./leases.js";
import { Locks } from "./locks.js";
import { ListingService, looking } from "./listing-service.js";
import { showMetaFigures } from "./meta-metrics.js";
import type { MetaStore } from "./metastore.js";
import { Opens } from "./opens.js";
import { OperationsService } from "./operations-service.js";
import { Phases } from "./phases.js";
import { Reaper } from "./reaper.js";
import { Recalls } from "./recalls.js";
import { Recount } from "./recount.js";
import { Requests, plain, type Handler, type RequestCase } from "./requests.js";
import { OPERATIONS, type RuleName } from "./rules/operations.js";
import { Service } from "./service.js";
import { Sessions, type KnownSessions } from "./sessions.js";
import { Sharing } from "./sharing.js";
import type { DialStore } from "./store-calls.js";
import { Sweeper } from "./sweeper.js";
import type { LiveVolume } from "./volume-start.js";

export interface ServingParts {
  readonly executor: Executor;
  readonly cluster: Cluster;
  readonly clock: Clock;
  readonly log: Logger;
  readonly registry: Registry;
  readonly volume: LiveVolume;
  readonly store: MetaStore;
  readonly shipper: Pick<Shipper, "status"> | undefined;
  readonly dialStore: DialStore;
  /** Nothing new can be saved. */
  readonly isLow: () => boolean;
  readonly random?: Random;
}

export interface ServingOptions {
  readonly deadlines: Deadlines;
  readonly known: KnownSessions;
}

/** Names and inodes that sessions may cache: one session, and all; each takes about 350 bytes. */
const LEASES_MAX = 50_000;
const LEASES_TOTAL = 200_000;
const CONTENDED_MS = 2_000;
const SWEEP_MS = 30_000;
const REAP_MS = 30_000;
const COMPACT_MS = 5_000;

/** Everything of the metadata daemon that clients talk to, put together. */
export class Serving {
  readonly phases: Phases;
  readonly sessions: Sessions;
  readonly service: Service;
  readonly admin: Admin;
  readonly leases: Leases;
  readonly tasks: Readonly<Record<"expire" | "reap" | "sweep" | "compact" | "recount", Task>>;
  readonly #reaper: Reaper;
  readonly #ids: InodeIds;
  readonly #parts: ServingParts;

  constructor(parts: ServingParts, opts: ServingOptions) {
    this.#parts = parts;
    this.#ids = new InodeIds(parts);
    const { executor, cluster, clock, log, volume } = parts;
    const { deadlines, known } = opts;
    const opens = new Opens({
      shared: (ino, by) => sharing.shared(ino, by),
      unshared: (ino) => sharing.unshared(ino),
    });
    const phases = (this.phases = new Phases(
      { log },
      known.rows.map((row) => row.id),
    ));
    const leases = (this.leases = new Leases({
      leasesMax: LEASES_MAX,
      leasesTotal: LEASES_TOTAL,
      contendedMs: CONTENDED_MS,
    }));
    const tell = (session: number, op: AnswerOp) => this.sessions.get(session)?.connection?.push(op);
    const recalls: Recalls = new Recalls({
      leases,
      clock,
      send: (session, recall) => tell(session, { $case: "recall", value: recall }),
    });
    const locks = new Locks({
      wanted: (session, ino) => tell(session, { $case: "locksWanted", value: { ino } }),
      freed: (session, ino) => tell(session, { $case: "locksFreed", value: { ino } }),
    });
    const sharing: Sharing = new Sharing({
      opens,
      recalls,
      phases,
      unshared: (session, inos) => tell(session, { $case: "unshared", value: { inos: [...inos] } }),
    });
    const compaction = new Compaction(
      { clock, ask: (session, at) => tell(session, { $case: "crowded", value: at }) },
      { periodMs: COMPACT_MS },
    );
    const shared = {
      executor,
      cluster,
      clock,
      log,
      opens,
      phases,
      recalls,
      sharing,
      volume,
      leases,
      locks,
      compaction,
    };
    const sweepSoon = () => this.tasks.sweep.wake();
    const reaper = (this.#reaper = new Reaper({ ...shared, sweepSoon }));
    const sweeper = new Sweeper(shared);
    const sessions = (this.sessions = new Sessions(
      { ...shared, unopened: (inos) => this.#unopened(inos) },
      opts,
      known,
    ));
    const grants = new Grants({ leases, recalls, clock, opens, sharedFolderMs: deadlines.sharedFolderMs });
    const operations = new OperationsService({
      ...shared,
      grants,
      reaper,
      sweepSoon,
      ids: this.#ids,
    });
    const times = new OperationTimes(parts, "meta");
    const requests = new Requests(
      { ...shared, times },
      this.#handlers(operations, { grants, opens, locks, compaction, sharing }, deadlines),
    );
    const all = { ...shared, reaper, requests, sessions };
    this.service = new Service(all, deadlines);
    const recount = new Recount(shared);
    this.admin = new Admin({
      ...all,
      recount,
      recountSoon: () => this.tasks.recount.wake(),
      service: this.service,
      store: parts.store,
      shipper: parts.shipper,
      dialStore: parts.dialStore,
      mender: new Mender({ ...all, dialStore: parts.dialStore }),
      stuckMs: deadlines.ioDeadlineMs,
    });
    const expireMs = Math.max(10, deadlines.leaseMs / 20);
    this.tasks = {
      expire: new Task(parts, { name: "expire-sessions", periodMs: expireMs, run: () => sessions.expire() }),
      reap: new Task(parts, { name: "reap-orphans", periodMs: REAP_MS, run: (signal) => reaper.pass(signal) }),
      compact: new Task(parts, { name: "compact-slots", periodMs: COMPACT_MS, run: async () => compaction.pass() }),
      sweep: new Task(parts, { name: "sweep-files", periodMs: SWEEP_MS, run: (signal) => sweeper.pass(signal) }),
      recount: new Task(parts, { name: "replica-counts", periodMs: SWEEP_MS, run: (signal) => recount.pass(signal) }),
    };
    this.#show({ compaction, recalls, requests });
  }

  /** Waits for known sessions, then serves. Streams must be accepted by then. */
  start(): void {
    this.tasks.expire.start();
    void this.phases.served.then(() => this.#serve());
    this.phases.start();
  }

  /** Ends the background work; sessions live on. */
  async stop(): Promise<void> {
    this.phases.stop();
    await Promise.all(Object.values(this.tasks).map((task) => task.stop()));
  }

  /** Reaping and cleaning begin. */
  async #serve(): Promise<void> {
    const { cluster, log } = this.#parts;
    cluster.start();
    try {
      await this.#reaper.load();
    } catch (error) {
      log.error({ err: error }, "orphans could not be read");
    }
    if (this.phases.isStopping) return;
    this.tasks.reap.start();
    this.tasks.sweep.start();
    this.tasks.compact.start();
    this.tasks.recount.start();
    this.tasks.reap.wake();
    this.tasks.sweep.wake();
    this.tasks.recount.wake();
  }

  #unopened(inos: readonly number[]): void {
    this.#reaper.unopened(inos).catch((error: unknown) => {
      this.#parts.log.warn({ err: error }, "a file without a name was not removed; it will be tried again");
    });
  }

  #handlers(
    operations: OperationsService,
    parts: {
      readonly grants: Grants;
      readonly opens: Opens;
      readonly locks: Locks;
      readonly compaction: Compaction;
      readonly sharing: Sharing;
    },
    deadlines: Deadlines,
  ): Map<RequestCase, Handler> {
    const { executor, cluster, clock, volume, isLow } = this.#parts;
    const { grants, opens, locks, compaction, sharing } = parts;
    const base = { isLive: (node: number) => cluster.isLive(node), isOpen: (ino: number) => opens.isOpen(ino), volume };
    const files = new FilesService({ executor, cluster, ids: this.#ids, isLow });
    const commits = new CommitService({ executor, cluster, clock, compaction, operations, files, sharing }, deadlines);
    const listings = new ListingService({
      executor,
      grants,
      context: (call) => looking(call, { ...base, now: clock.now() }),
    });
    const handlers = new Map<RequestCase, Handler>();
    for (const name of Object.keys(OPERATIONS) as RuleName[]) handlers.set(name, (call) => operations.handle(call));
    handlers.set("commit", (call) => commits.handle(call));
    handlers.set("compact", (call) => commits.compact(call));
    handlers.set("readdir", (call) => listings.handle(call));
    handlers.set("alloc", (call) => files.alloc(call));
    handlers.set("inodes", (call) => files.inodes(call));
    handlers.set("fsync", (call) => files.fsync(call));
    handlers.set("statfs", () => files.statfs());
    handlers.set("lock", async ({ op, session }) => {
      if (op.$case !== "lock" || op.value.lock === undefined) throw new FsError("EINVAL", "a request without a lock");
      const { ino, lock, wait } = op.value;
      return plain({ $case: "lock", value: await locks.set(session, ino, lock, wait) });
    });
    handlers.set("getlock", async ({ op, session }) => {
      if (op.$case !== "getlock" || op.value.lock === undefined)
        throw new FsError("EINVAL", "a request without a lock");
      const { ino, lock } = op.value;
      return plain({ $case: "getlock", value: { lock: await locks.get(session.id, ino, lock) } });
    });
    return handlers;
  }

  #show(parts: { compaction: Compaction; recalls: Recalls; requests: Requests }): void {
    const { executor, clock, registry } = this.#parts;
    let durableMs = clock.monotonicMs();
    executor.onDurable(() => (durableMs = clock.monotonicMs()));
    showMetaFigures(registry, {
      sessions: () => this.sessions.size,
      leases: () => this.leases.size,
      recalls: () => parts.recalls.sent,
      requestsWaiting: () => parts.requests.waiting,
      orphans: () => this.#reaper.size,
      crowded: () => parts.compaction.size,
      compacted: () => parts.compaction.done,
      rowsCached: () => executor.rows.cached,
      rowsDirty: () => executor.rows.dirty,
      durableLagSec: () => (executor.rows.dirty === 0 ? 0 : (clock.monotonicMs() - durableMs) / 1000),
    });
  }
}
