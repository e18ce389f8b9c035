import { formatSize } from "../../common/sizes.js";
import { table } from "../table.js";
import type { Cache } from "./caches.js";
import type { Latency } from "./latency.js";
import type { Result } from "./run.js";
import type { Scale } from "./scale.js";
import type { Unit } from "./workloads.js";

/** What was measured, and how. */
export interface Run {
  readonly folder: string;
  readonly threads: number;
  readonly scale: Scale;
  readonly results: readonly Result[];
}

/** What `--json` prints. Names of results and units stay as they are; more may come. Sizes in bytes, times as named. */
export interface Report {
  readonly folder: string;
  /** `bigSize` to `smallSize` are for each thread. */
  readonly options: { readonly threads: number } & Scale;
  readonly results: readonly {
    readonly name: string;
    readonly rate: number;
    readonly unit: Unit;
    /** What the rate counts: MiB, operations or entries, of all threads. */
    readonly amount: number;
    readonly seconds: number;
    /** How cold a read was, null for what does not read. */
    readonly cache: Cache | null;
    /** How many calls `latencyMs` is of. */
    readonly calls: number;
    readonly latencyMs: Latency;
  }[];
}

export function reportOf({ folder, threads, scale, results }: Run): Report {
  return {
    folder,
    options: { threads, ...scale },
    results: results.map(({ workload, rate, amount, seconds, cache = null, calls, latency }) => ({
      name: workload.name,
      rate: rounded(rate),
      unit: workload.unit,
      amount,
      seconds: rounded(seconds),
      cache,
      calls,
      latencyMs: {
        mean: rounded(latency.mean),
        p50: rounded(latency.p50),
        p95: rounded(latency.p95),
        p99: rounded(latency.p99),
        max: rounded(latency.max),
      },
    })),
  };
}

const NOTES: Readonly<Record<Cache, string>> = {
  "all dropped": "all dropped: the caches of this machine's kernel were emptied before",
  "file dropped":
    "file dropped: the page cache of the file was emptied before; a filesystem may have caches of its own",
  warm: "warm: may come from a cache of this machine (--drop-caches, as root, empties them before what can be cold)",
};

const HEAD = ["", "rate", "unit", "p50 ms", "p95 ms", "p99 ms", "max ms", "cache"];

/** For people: a table, and what its words mean. */
export function pageOf({ folder, threads, scale, results }: Run): string {
  const rows = results.map(({ workload, rate, latency, cache = "" }) => [
    workload.title,
    threeDigits(rate),
    workload.unit,
    ...[latency.p50, latency.p95, latency.p99, latency.max].map(threeDigits),
    cache,
  ]);
  const caches = new Set(results.map(({ cache }) => cache));
  const notes = (Object.keys(NOTES) as Cache[]).filter((cache) => caches.has(cache)).map((cache) => NOTES[cache]);
  return [amounts(folder, threads, scale), "", table(rightAligned([HEAD, ...rows])), "", ...notes].join("\n");
}

function amounts(folder: string, threads: number, scale: Scale): string {
  const { bigSize, blockSize, smallFiles, smallSize } = scale;
  const large = bigSize === 0 ? [] : [`a file of ${formatSize(bigSize)} in blocks of ${formatSize(blockSize)}`];
  const small = smallFiles === 0 ? [] : [`${smallFiles} files of ${formatSize(smallSize)}`];
  const each = [...large, ...small].join(", ");
  return `${folder}: ${threads === 1 ? "1 thread" : `${threads} threads, each`} with ${each}`;
}

/** The numbers end in one column. */
function rightAligned(rows: readonly (readonly string[])[]): string[][] {
  const isNumber = (column: number): boolean => column === 1 || (column >= 3 && column <= 6);
  const width = (column: number): number => Math.max(...rows.map((row) => row[column]?.length ?? 0));
  return rows.map((row) => row.map((cell, column) => (isNumber(column) ? cell.padStart(width(column)) : cell)));
}

/** To a millionth. */
function rounded(value: number): number {
  return Number(value.toFixed(6));
}

/** "1234", "12.3", "1.23", "0.012": as exact as it means something. */
function threeDigits(value: number): string {
  return value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3);
}
