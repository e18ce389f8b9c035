import { open, readFile, readdir } from "node:fs/promises";
import { arch, cpus, release, totalmem, version } from "node:os";
import { join } from "node:path";
import { formatAddress, parseListen } from "../../common/address.js";
import type { Clock } from "../../common/clock.js";
import { fetchStatus } from "../admin/ask.js";
import { isAlive, readCluster, type Member } from "../cluster-file.js";
import { examine, namesCluster, type Wanted } from "../doctor/examine.js";
import { UsageError, explain } from "../exit.js";
import { clusterAddress } from "../shared-options.js";
import { packageVersion } from "../version.js";
import { scrubLog } from "./scrub.js";

/** Bytes of the end of each log, and how many logs. */
const LOG_BYTES = 2 ** 20;
const LOGS_MAX = 100;
const METRICS_MS = 5_000;

/** The files of a support bundle, by name. What cannot be had is a file too that says why. */
export async function collect(wanted: Wanted, clock: Clock): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  const add = async (name: string, content: () => Promise<string>) => {
    wanted.signal.throwIfAborted();
    try {
      files.set(name, await content());
    } catch (error) {
      if (error instanceof UsageError || wanted.signal.aborted) throw error;
      files.set(name, `not to be had: ${explain(error)}\n`);
    }
  };
  await add("versions.json", async () => json(await versions()));
  await add("doctor.json", async () => json({ findings: await examine(wanted, clock) }));
  if (namesCluster(wanted)) {
    await add("status.json", async () => json(await fetchStatus(await clusterAddress(wanted))));
  }
  const { data } = wanted;
  if (data === undefined) return files;
  const cluster = await readCluster(data);
  await add("cluster.json", async () => json(cluster));
  for (const member of cluster?.processes ?? []) {
    await add(`processes/${member.name}.json`, async () => json(await processOf(member)));
    await add(`metrics/${member.name}.prom`, () => metricsOf(member));
  }
  const logs = await readdir(join(data, "log")).catch(() => []);
  for (const log of logs.filter((name) => name.endsWith(".log")).slice(0, LOGS_MAX)) {
    await add(`log/${log}`, async () => scrubLog(await endOf(join(data, "log", log))));
  }
  return files;
}

function json(value: unknown): string {
  return `${JSON.stringify(value ?? null, null, 2)}\n`;
}

async function versions() {
  const system = await readFile("/etc/os-release", "utf8").catch(() => "");
  return {
    bigfs: packageVersion(),
    node: process.versions,
    kernel: `${release()} ${version()}`,
    system: /^PRETTY_NAME="?([^"\n]*)/m.exec(system)?.[1],
    arch: arch(),
    cpus: cpus().length,
    memoryBytes: totalmem(),
  };
}

/** Options and use of memory of a process of an `up`, as the kernel tells them. */
async function processOf(member: Member) {
  const { name, role, pid, listen } = member;
  if (!isAlive(member)) return { name, role, pid, listen, runs: false };
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  const figures = /^(?:State|Threads|VmRSS|VmHWM|FDSize):.*$/gm;
  return { name, role, pid, listen, runs: true, args: await argsOf(pid), status: status.match(figures) };
}

async function argsOf(pid: number): Promise<string[]> {
  return (await readFile(`/proc/${pid}/cmdline`, "utf8")).split("\0").filter((arg) => arg !== "");
}

async function metricsOf(member: Member): Promise<string> {
  const args = isAlive(member) ? await argsOf(member.pid) : [];
  const http = args[args.indexOf("--http") + 1];
  if (http === undefined || !args.includes("--http")) return "it serves none (--http)\n";
  const url = `http://${formatAddress(parseListen(http))}/metrics`;
  const response = await fetch(url, { signal: AbortSignal.timeout(METRICS_MS) });
  return response.text();
}

/** The last whole lines of a file. */
async function endOf(path: string): Promise<string> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const from = Math.max(0, size - LOG_BYTES);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(Math.min(size, LOG_BYTES)), { position: from });
    const text = buffer.toString("utf8", 0, bytesRead);
    return from === 0 ? text : text.slice(text.indexOf("\n") + 1);
  } finally {
    await file.close();
  }
}
