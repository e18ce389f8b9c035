import { formatSize } from "../../common/sizes.js";
import { finding, ok, type Finding } from "./finding.js";

/** What there is to know of the disk under a folder. */
export interface DiskFacts {
  readonly folder: string;
  /** "ext2/ext3/ext4", "tmpfs", "nfs"; undefined: none of those that matter here. */
  readonly filesystem: string | undefined;
  /** Whether the device says that it turns; undefined: there is no device, or it does not say. */
  readonly rotates: boolean | undefined;
  /** For whoever may write there, not root. */
  readonly freeBytes: number;
  readonly totalBytes: number;
  /** undefined: it could not be written, `error` says why ("EACCES: ..."). */
  readonly sync: SyncTimes | undefined;
  readonly error: { readonly code: string | undefined; readonly message: string } | undefined;
}

/** Milliseconds of writing 4 KiB at the end of a file: alone, and with fsync. */
export interface SyncTimes {
  readonly write: Percentiles;
  readonly sync: Percentiles;
}

export interface Percentiles {
  readonly p50: number;
  readonly p99: number;
}

/** Of at least one value; the nearest rank. */
export function percentiles(values: readonly number[]): Percentiles {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (part: number) => sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)] ?? 0;
  return { p50: at(0.5), p99: at(0.99) };
}

/** Quicker than half a turn of the fastest disks there are (15,000 a minute). */
const TURN_MS = 2;
/** An fsync that reaches anything takes several times as long as copying 4 KiB into the page cache. */
const SYNC_FACTOR = 3;
const SLOW_P50_MS = 50;
const SLOW_P99_MS = 500;

/** Storage daemons keep 64 MiB free and then take nothing any more. */
const FREE_MIN = 64 * 2 ** 20;
const FREE_PART = 0.05;

/** In memory: gone with the power. */
const VOLATILE = ["tmpfs", "ramfs"];
const REMOTE = ["nfs", "cifs", "fuse"];

export function judgeDisk(facts: DiskFacts): Finding[] {
  return [
    space(facts),
    ...kind(facts),
    ...(facts.sync === undefined ? [unwritable(facts)] : syncing(facts, facts.sync)),
  ];
}

/** Of folders on one disk. */
export function judgeSharing(folders: readonly string[]): Finding[] {
  if (folders.length < 2) return [];
  const what = `${folders.join(", ")} are on one disk: they are lost together`;
  return [finding("note", "disk-shared", what, "bigfsd store --data DIR   (one for each disk)")];
}

function space({ folder, freeBytes, totalBytes }: DiskFacts): Finding {
  const check = "disk-space";
  const what = `${folder}: ${formatSize(freeBytes)} free of ${formatSize(totalBytes)}`;
  const fix = `df -h ${folder}; make room there, or add a disk: bigfsd store --data DIR --meta HOST:PORT --key FILE`;
  if (freeBytes <= FREE_MIN) return finding("error", check, `${what}: nothing more can be stored`, fix);
  if (freeBytes < totalBytes * FREE_PART) return finding("warning", check, `${what}: nearly full`, fix);
  return ok(check, what);
}

function kind({ folder, filesystem = "" }: DiskFacts): Finding[] {
  const check = "disk-kind";
  if (VOLATILE.includes(filesystem)) {
    const what = `${folder} is in memory (${filesystem}): all is lost when the machine stops`;
    return [finding("warning", check, what, "name a --data folder on a disk")];
  }
  if (!REMOTE.includes(filesystem)) return [];
  const what = `${folder} is on ${filesystem}: its copies are only as safe, and as independent, as what is behind it`;
  return [finding("warning", check, what, "name a --data folder on a disk of this machine")];
}

function unwritable({ folder, error }: DiskFacts): Finding {
  const fixes: Record<string, string> = {
    ENOSPC: `df -h ${folder}; df -i ${folder}   (make room there)`,
    EROFS: `mount -o remount,rw MOUNTPOINT   (dmesg says why the kernel made it read-only, if it did)`,
    ENOTDIR: "name a folder",
  };
  const fix = fixes[error?.code ?? ""] ?? `ls -ld ${folder}   (run doctor as the user that the daemons run as)`;
  return finding("error", "disk-sync", `${folder} cannot be written: ${error?.message ?? "unknown"}`, fix);
}

function syncing({ folder, rotates, filesystem = "" }: DiskFacts, { write, sync }: SyncTimes): Finding[] {
  if (VOLATILE.includes(filesystem)) return [];
  const times = `fsync takes ${inMs(sync.p50)} (1 in 100: ${inMs(sync.p99)})`;
  return [honesty(`${folder}: ${times}`, { rotates, write, sync }), ...latency(`${folder}: ${times}`, sync)];
}

function honesty(
  what: string,
  { rotates, write, sync }: { rotates: boolean | undefined; write: Percentiles; sync: Percentiles },
): Finding {
  const check = "disk-sync";
  const fix = "hdparm -W 0 DEVICE   (a virtual disk: cache=none or writethrough on its host)";
  if (sync.p50 < write.p50 * SYNC_FACTOR) {
    return finding("warning", check, `${what}, hardly longer than no fsync: it may not reach the disk`, fix);
  }
  if (rotates === true && sync.p50 < TURN_MS) {
    const doubt = "quicker than a disk turns: it is none, or its cache has a battery, or it lies";
    return finding("note", check, `${what}, ${doubt}`, fix);
  }
  return ok(check, what);
}

function latency(what: string, { p50, p99 }: Percentiles): Finding[] {
  if (p50 < SLOW_P50_MS && p99 < SLOW_P99_MS) return [];
  const fix = "put the metadata on the fastest disk: bigfsd meta --data DIR";
  return [finding("warning", "disk-latency", `${what}: every fsync of a file waits for that`, fix)];
}

function inMs(ms: number): string {
  return `${ms < 10 ? ms.toFixed(2) : ms.toFixed(0)} ms`;
}
