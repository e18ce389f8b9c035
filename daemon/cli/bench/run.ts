import { mkdir, mkdtemp, rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import { FsError } from "../../../proto/errno.js";
import { formatSize } from "../../common/sizes.js";
import { type Cache, dropAll, dropFiles, mayDropAll } from "./caches.js";
import { Crew, WorkloadError } from "./crew.js";
import { cannotBegin, cannotGoOn } from "./errors.js";
import { type Latency, latencyOf } from "./latency.js";
import type { Measured } from "./meter.js";
import { type Scale, WARM_UP, bytesOf } from "./scale.js";
import { type Workload, largeFile, workloadsOf } from "./workloads.js";

export interface BenchOptions {
  /** How much each thread does. */
  readonly scale: Scale;
  readonly threads: number;
  /** Before what reads, all caches of the kernel are dropped; needs root. */
  readonly dropCaches: boolean;
  /** Aborted: what was made is removed, and its reason is thrown. */
  readonly signal: AbortSignal;
  readonly progress: Progress;
}

/** Hears what is done. */
export interface Progress {
  /** `step` of `steps` begins; `share()` is how much of it is done, 0 to 1. */
  begin(what: string, step: number, steps: number, share: () => number): void;
}

/** What one workload did, in all threads together. */
export interface Result {
  readonly workload: Workload;
  /** In what the unit counts. */
  readonly amount: number;
  readonly seconds: number;
  /** Amount per second. */
  readonly rate: number;
  /** Only of what reads. */
  readonly cache?: Cache;
  /** How many calls the latency is of. */
  readonly calls: number;
  readonly latency: Latency;
}

/**
 * Measures the filesystem of a folder, in a folder of its own there that is gone when this returns or throws. Throws
 * FsError, and an Error for what has no errno of ours.
 */
export async function runBench(dir: string, opts: BenchOptions): Promise<Result[]> {
  if (opts.dropCaches) await mayDropAll();
  const own = await begin(dir);
  const crew = new Crew(opts.signal, { threads: opts.threads, blockSize: opts.scale.blockSize });
  try {
    await mustFit(dir, opts);
    return await measure(crew, own, opts);
  } catch (error) {
    // Ctrl-C on a terminal ends what this started, too.
    throw opts.signal.aborted ? opts.signal.reason : shown(error, dir);
  } finally {
    await crew.stop();
    await remove(own);
  }
}

async function begin(dir: string): Promise<string> {
  try {
    return await mkdtemp(join(dir, ".bigfs-bench-"));
  } catch (error) {
    throw cannotBegin(dir, error as NodeJS.ErrnoException);
  }
}

async function mustFit(dir: string, { scale, threads }: BenchOptions): Promise<void> {
  const { bavail, blocks, bsize } = await statfs(dir);
  const [needed, free] = [bytesOf(scale, threads), bavail * bsize];
  // Some filesystems do not say how large they are.
  if (blocks === 0 || free >= needed) return;
  const what = `${formatSize(needed)} are to be written and ${formatSize(free)} are free`;
  throw new FsError("ENOSPC", `${dir}: ${what}: give smaller --big-size, --small-files, --threads`);
}

async function measure(crew: Crew, own: string, opts: BenchOptions): Promise<Result[]> {
  const { scale, threads, progress } = opts;
  const workloads = workloadsOf(scale);
  const steps = workloads.length;
  await warmUp(crew, own, opts);
  const dir = join(own, "measured");
  await mkdir(dir);
  await crew.makeFolders(dir);
  const results: Result[] = [];
  for (const [i, workload] of workloads.entries()) {
    const calls = threads * workload.calls(scale);
    progress.begin(workload.title, i + 1, steps, () => crew.calls / calls);
    const cache = await dropFor(workload, crew.folders(dir), opts.dropCaches);
    results.push(resultOf(workload, scale, cache, await crew.run(workload, dir, scale)));
  }
  return results;
}

/** Does everything once in small, and leaves nothing. */
async function warmUp(crew: Crew, own: string, { scale, progress }: BenchOptions): Promise<void> {
  const small = (key: keyof Scale): number => Math.min(scale[key], WARM_UP[key]);
  const warm: Scale = {
    ...scale,
    bigSize: small("bigSize"),
    randomOps: small("randomOps"),
    appends: small("appends"),
    smallFiles: small("smallFiles"),
  };
  const dir = join(own, "warm-up");
  await mkdir(dir);
  await crew.makeFolders(dir);
  const workloads = workloadsOf(warm);
  let done = 0;
  progress.begin("warm up", 0, workloads.length, () => done / workloads.length);
  for (const workload of workloads) {
    await crew.run(workload, dir, warm);
    done++;
  }
  await rm(dir, { recursive: true });
}

async function dropFor({ reads }: Workload, folders: readonly string[], all: boolean): Promise<Cache | undefined> {
  if (reads === undefined) return undefined;
  if (reads === "again") return "warm";
  if (all) {
    await dropAll();
    return "all dropped";
  }
  return reads === "large" && (await dropFiles(folders.map(largeFile))) ? "file dropped" : "warm";
}

function resultOf(workload: Workload, scale: Scale, cache: Cache | undefined, measured: readonly Measured[]): Result {
  const samples = Float64Array.from(measured.flatMap((one) => [...one.samples]));
  const amount = measured.length * workload.amount(scale);
  const seconds = Math.max(...measured.map((one) => one.elapsedMs)) / 1000;
  return {
    workload,
    amount,
    seconds,
    rate: amount / seconds,
    ...(cache === undefined ? {} : { cache }),
    calls: samples.length,
    latency: latencyOf(samples),
  };
}

function shown(error: unknown, dir: string): unknown {
  if (error instanceof WorkloadError) return cannotGoOn(`${error.title}, in ${dir}`, error.failure);
  const { code, message } = error as NodeJS.ErrnoException;
  return code === undefined || error instanceof FsError ? error : cannotGoOn(dir, { code, message });
}

async function remove(own: string): Promise<void> {
  try {
    await rm(own, { recursive: true, force: true });
  } catch (error) {
    process.stderr.write(`bigfsd: ${own} could not be removed, remove it by hand: ${(error as Error).message}\n`);
  }
}
