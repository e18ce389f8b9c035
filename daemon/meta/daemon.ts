import type { Logger } from "pino";
import { collectForManyRows } from "../common/engine.js";
import { serveHttp, type HttpServer } from "../common/http.js";
import { makeFolder } from "../common/data-folder.js";
import { lockFolder } from "../common/lock-file.js";
import { processRegistry, type Registry } from "../common/metrics.js";
import { systemRandom, type Random } from "../common/random.js";
import { ADMIN, NODE, SESSION } from "../common/rpc/kinds.js";
import { grpc, type Network } from "../common/rpc/network.js";
import type { Running } from "../common/running.js";
import { Task } from "../common/tasks.js";
import { CommitLog } from "./backup/commit-log.js";
import { logged } from "./backup/logged-store.js";
import { Shipper } from "./backup/shipper.js";
import { Cluster } from "./cluster/cluster.js";
import { reachAs } from "./cluster/reach.js";
import type { CommitterOptions } from "./committer.js";
import { Executor } from "./executor.js";
import type { MetaStore } from "./metastore.js";
import type { MetaOptions } from "./options.js";
import { Serving } from "./serving.js";
import { knownSessions } from "./sessions.js";
import { SpaceWatch } from "./space-watch.js";
import { onlyDeletionsWhen } from "./space.js";
import { StoreCalls, type DialStore } from "./store-calls.js";
import { openMetadata } from "./volume-folder.js";
import { openVolume } from "./volume-start.js";

const SPACE_MS = 5_000;
/** Changes that nobody waits for share a commit for so long. */
const GATHER_MS = 20;
/** Rows of commits that storage nodes do not have yet; with more, a snapshot follows. */
const LOG_BYTES = 32 * 1024 * 1024;

/** What the daemon stands on: a machine, or a simulated one. */
export interface MetaParts {
  readonly store: MetaStore;
  /** What was committed there and is not on storage nodes; undefined: it is not kept there. */
  readonly commits?: CommitLog | undefined;
  /** Whether there is room for more metadata. */
  readonly space: Pick<SpaceWatch, "isLow" | "look">;
  readonly registry: Registry;
  readonly network: Network;
  readonly random: Random;
  readonly defer?: NonNullable<CommitterOptions["defer"]>;
}

/**
 * Starts the metadata daemon on its data folder. StartupError: the folder is in use or not usable, the store is damaged
 * or newer, or the port is taken; nothing is left running then.
 *
 * When a commit fails nothing is acknowledged any more: every stream is closed, and `ended` says why.
 */
export async function startMeta(opts: MetaOptions): Promise<Running> {
  return undoing(opts, async (undo) => serve(await open(opts, undo), opts, undo));
}

/** The same on parts that are open already; closes the store at the end. */
export function serveMeta(parts: MetaParts, opts: Omit<MetaOptions, "data" | "store">): Promise<Running> {
  return undoing(opts, (undo) => {
    undo.add(() => parts.store.close());
    return serve(parts, opts, undo);
  });
}

async function undoing({ log }: Pick<MetaOptions, "log">, start: (undo: Undo) => Promise<Running>): Promise<Running> {
  const undo = new Undo(log);
  try {
    return await start(undo);
  } catch (error) {
    await undo.all();
    throw error;
  }
}

async function open(opts: MetaOptions, undo: Undo): Promise<MetaParts> {
  const release = collectForManyRows(opts.clock);
  undo.add(() => Promise.resolve(release()));
  await makeFolder(opts.data);
  const lock = await lockFolder(opts.data);
  undo.add(() => lock.release());
  const { log, clock } = opts;
  const rows = opts.store ?? (await openMetadata(opts.data));
  undo.add(() => rows.close());
  const commits = isBackedUp(opts) ? new CommitLog(clock, { bytesMax: LOG_BYTES }) : undefined;
  const store = commits === undefined ? rows : await logged(rows, commits);
  const space = new SpaceWatch({ log }, opts.data);
  await space.look();
  return { store, commits, space, registry: processRegistry(), network: grpc, random: systemRandom };
}

async function serve(parts: MetaParts, opts: Omit<MetaOptions, "data">, undo: Undo): Promise<Running> {
  const { store, commits, space, registry, network, random, defer } = parts;
  const { deadlines, log, clock } = opts;
  const isLow = (): boolean => space.isLow;
  const executor = new Executor(
    { store, log },
    {
      ...(opts.cacheBytes === undefined ? {} : { cacheBytes: opts.cacheBytes }),
      ...(defer === undefined ? {} : { defer }),
      admit: onlyDeletionsWhen(isLow),
      later: (start) => void clock.after(GATHER_MS, start),
    },
  );
  const { volume, isNew } = await openVolume({ executor, clock, random }, opts.create);
  const known = await knownSessions(executor);
  const reach = reachAs({ key: opts.key, volume: volume.uuid, connectMs: deadlines.connectMs, clock, network });
  const common = { executor, clock, log, registry, volume, random };
  const cluster = new Cluster({ ...common, deadlines, reach });
  await cluster.load();
  undo.add(() => drained(executor));
  undo.add(() => cluster.stop());
  const shipper =
    commits === undefined
      ? undefined
      : new Shipper(
          { ...common, commits, store, network, nodes: () => cluster.status().nodes, key: opts.key },
          { deadlines, keep: opts.backupKeep ?? 0 },
        );
  undo.add(() => shipper?.stop() ?? Promise.resolve());
  const dialed = { key: opts.key, clock, network, volume: volume.uuid, connectMs: deadlines.connectMs };
  const dialStore: DialStore = ({ id, address }) =>
    StoreCalls.connect(address, { ...dialed, node: id, answerMs: deadlines.chunkMs });
  const serving = new Serving({ ...common, store, shipper, cluster, dialStore, isLow }, { deadlines, known });
  cluster.onMap((map) => serving.service.mapChanged(map));
  const spaceTask = new Task(common, { name: "space", periodMs: SPACE_MS, run: () => space.look() });
  spaceTask.start();
  undo.add(() => spaceTask.stop());
  undo.add(() => serving.stop());
  const rpc = network.server({
    key: opts.key,
    log,
    clock,
    volume: () => ({ uuid: volume.uuid, incarnation: volume.incarnation }),
  });
  rpc.handle(SESSION, (link) => serving.service.accept(link));
  rpc.handle(NODE, (link) => cluster.serve(link));
  rpc.handle(ADMIN, (link) => serving.admin.accept(link));
  const health = () => ({
    ok: executor.failure === undefined && !serving.phases.isStopping,
    detail: { phase: serving.phases.phase.kind, volume: volume.uuid, durable: executor.failure === undefined },
  });
  undo.add(() => rpc.stop());
  const http = opts.http === undefined ? undefined : await serveHttp({ listen: opts.http, registry, health });
  undo.add(() => stopHttp(http));
  const listen = await rpc.listen(opts.listen);
  serving.start();
  shipper?.start();
  log.info({ listen, http: http?.listen, volume: volume.uuid, isNew, sessions: known.rows.length }, "serving metadata");
  return running(listen, executor, serving, undo, log);
}

function isBackedUp({ backupKeep = 0 }: MetaOptions): boolean {
  return backupKeep > 0;
}

function running(listen: string, executor: Executor, serving: Serving, undo: Undo, log: Logger): Running {
  let tellEnded!: (error: Error | undefined) => void;
  const ended = new Promise<Error | undefined>((resolve) => (tellEnded = resolve));
  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> => {
    serving.phases.stop();
    return (stopping ??= undo.all());
  };
  void executor.failed.then(async (error) => {
    log.fatal({ err: error }, "metadata could not be saved: the daemon stops");
    await stop();
    tellEnded(error);
  });
  return {
    listen,
    ended,
    async stop() {
      await stop();
      tellEnded(undefined);
    },
  };
}

/** What must be undone, last first; what fails does not keep the rest. */
class Undo {
  readonly #steps: (() => Promise<void>)[] = [];

  constructor(private readonly log: Logger) {}

  add(step: () => Promise<void>): void {
    this.#steps.push(step);
  }

  async all(): Promise<void> {
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      await step().catch((error: unknown) => this.log.error({ err: error }, "did not stop cleanly"));
    }
  }
}

/** After a failed commit there is nothing to wait for. */
async function drained(executor: Executor): Promise<void> {
  if (executor.failure === undefined) await executor.drained();
}

async function stopHttp(http: HttpServer | undefined): Promise<void> {
  await http?.stop();
}
