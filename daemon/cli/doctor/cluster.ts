import type { StatusReply } from "../../../proto/gen/bigfs/v1/meta.js";
import type { NodeInfo } from "../../../proto/gen/bigfs/v1/node.js";
import { parseAddress } from "../../common/address.js";
import { formatSize } from "../../common/sizes.js";
import { finding, ok, type Finding } from "./finding.js";

/** What there is to know of a cluster. */
export interface ClusterFacts {
  /** HOST:PORT of its metadata daemon. */
  readonly meta: string;
  readonly status: StatusReply;
  /** Its clock minus this machine's, in milliseconds, and how far off that may be. */
  readonly skewMs: number;
  readonly skewErrorMs: number;
}

const SKEW_MS = 1_000;
const FULL_WARNING = 0.9;
const FULL_ERROR = 0.98;
/** Seconds after which what should be done in seconds is not. */
const LATE_SEC = 120;

/** Copies can be read from and made on these. */
const isLive = ({ state }: NodeInfo) => state === "UP" || state === "SUSPECT" || state === "DRAINING";

export function judgeCluster(facts: ClusterFacts): Finding[] {
  const { status } = facts;
  const live = status.nodes.filter(isLive);
  return [
    ok("reachable", `the metadata daemon at ${facts.meta} answers; volume ${status.volume}`),
    phase(status),
    clock(facts),
    enoughNodes(facts, live),
    ...status.nodes.flatMap(nodeState),
    ...oneHost(facts, live),
    ...zones(facts, live),
    ...live.flatMap(room),
    ...copies(status),
  ];
}

/** Whether the nodes are enough for the copies that the volume wants. */
export function judgeCopies(facts: Pick<ClusterFacts, "meta" | "status">): Finding[] {
  const live = facts.status.nodes.filter(isLive);
  return [enoughNodes(facts, live), ...zones(facts, live)];
}

export function unreachable(meta: string, why: string): Finding {
  return finding("error", "reachable", why, `on its machine: bigfsd meta --data DIR --listen ${meta} --key FILE`);
}

function phase({ phase: now }: StatusReply): Finding {
  if (now === "serve") return ok("phase", "the metadata daemon serves");
  const what = `the metadata daemon is in phase '${now}': after a restart it waits for its clients`;
  return finding("note", "phase", what, "bigfsd status --watch");
}

function clock({ skewMs, skewErrorMs }: ClusterFacts): Finding {
  const what = `this clock and the metadata daemon's are ${(Math.abs(skewMs) / 1000).toFixed(1)} s apart`;
  if (Math.abs(skewMs) - skewErrorMs < SKEW_MS) return ok("clock", what);
  const why = "times of files are the daemon's, and programs here will wonder";
  return finding("warning", "clock", `${what}: ${why}`, "timedatectl set-ntp true   (on both machines)");
}

function addNode(meta: string): string {
  return `bigfsd store --data DIR --meta ${meta} --key FILE`;
}

function enoughNodes({ meta, status }: Pick<ClusterFacts, "meta" | "status">, live: readonly NodeInfo[]): Finding {
  const { replicas, minReplicas } = status;
  const up = live.filter(({ state }) => state !== "DRAINING").length;
  const check = "nodes";
  const all = status.nodes.filter(({ state }) => state !== "RETIRED").length;
  const what = `${up} of ${all} storage daemons are up`;
  if (up < minReplicas) return finding("error", check, `${what}, writes need ${minReplicas}: they wait`, addNode(meta));
  if (up < replicas) return finding("warning", check, `${what}, too few for ${replicas} copies`, addNode(meta));
  return ok(check, what);
}

function nodeState({ name, address, state, failing, used }: NodeInfo): Finding[] {
  const check = "node-state";
  if (failing !== undefined) {
    const what = `the disk of storage daemon ${name} (${address}) is failing: ${failing}; it gets no new chunks, and its ${formatSize(used)} are copied to other nodes`;
    const fix = "when no chunk is under-replicated: stop it, replace the disk, and start it with --replaced";
    return [finding("error", "disk", what, fix)];
  }
  if (state === "DOWN") {
    const what = `storage daemon ${name} (${address}) is down`;
    return [finding("warning", check, what, "on its machine: bigfsd store --config /etc/bigfs/store.yaml")];
  }
  if (state !== "SUSPECT") return [];
  const what = `storage daemon ${name} (${address}) has lost its connection; it counts as down soon`;
  return [finding("warning", check, what, `is its process there, and is ${address} reachable? Its log says more`)];
}

/** Copies of a chunk should not be lost together. */
function oneHost({ meta, status: { replicas } }: ClusterFacts, live: readonly NodeInfo[]): Finding[] {
  if (replicas < 2 || live.length < 2) return [];
  const hosts = new Set(live.map(({ address }) => hostOf(address)));
  if (hosts.size > 1) return [];
  const what = `all ${live.length} storage daemons are on one host (${[...hosts].join()}): its end is the end of all copies`;
  return [finding("warning", "hosts", what, `on another machine: ${addNode(meta)}`)];
}

function zones({ status: { replicas } }: Pick<ClusterFacts, "status">, live: readonly NodeInfo[]): Finding[] {
  if (replicas < 2 || live.length < 2) return [];
  const found = [...new Set(live.map(({ zone }) => zone))].sort();
  if (found.length >= replicas) return [ok("zones", `copies are in different zones (${found.join(", ")})`)];
  const what = `${replicas} copies, but ${found.length === 1 ? "one zone" : `${found.length} zones`}: some share one`;
  return [finding("warning", "zones", what, "bigfsd node set NODE --zone ZONE")];
}

function hostOf(address: string): string {
  try {
    return parseAddress(address).host;
  } catch {
    return address;
  }
}

function room({ name, used, capacity }: NodeInfo): Finding[] {
  const part = capacity === 0 ? 1 : used / capacity;
  if (part < FULL_WARNING) return [];
  const what = `storage daemon ${name} is ${Math.floor(part * 100)} % full (${formatSize(used)} of ${formatSize(capacity)})`;
  const fix = "remove files (space comes back within minutes), or add a storage daemon";
  return [finding(part < FULL_ERROR ? "warning" : "error", "node-space", what, fix)];
}

function copies(status: StatusReply): Finding[] {
  const { chunks, underReplicated, oldestPendingSec, pending, unsynced, oldestUnsyncedSec, replicas } = status;
  const watch = "bigfsd status --watch   (it must go down; otherwise see the findings on nodes)";
  const found: Finding[] = [];
  if (underReplicated > 0) {
    const what = `${underReplicated} of ${chunks} chunks have fewer than ${replicas} copies`;
    found.push(finding("warning", "copies", what, watch));
  }
  if (pending > 0 && oldestPendingSec > LATE_SEC) {
    const what = `${pending} copies are being made, the oldest for ${oldestPendingSec} s`;
    found.push(finding("warning", "pending", what, watch));
  }
  if (unsynced > 0 && oldestUnsyncedSec > LATE_SEC) {
    const what = `${unsynced} chunks are not fsynced, the oldest for ${oldestUnsyncedSec} s`;
    found.push(finding("warning", "unsynced", what, "bigfsd doctor --disk DIR   (on the storage daemons' machines)"));
  }
  return found.length > 0 ? found : [ok("copies", `all ${chunks} chunks have ${replicas} copies`)];
}
