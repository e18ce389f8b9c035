import type { AdminReply, AdminRequest, FsckFinding } from "../../proto/gen/bigfs/v1/meta.js";
import { FsError } from "../../proto/errno.js";
import { nameBytes, type Name } from "../../proto/name.js";
import type { Clock } from "../common/clock.js";
import { headerOf, writeDump } from "./backup/dump.js";
import { seqOf } from "./backup/logged-store.js";
import { cleaningCases } from "./cluster/cleaning-cases.js";
import type { Cluster } from "./cluster/cluster.js";
import type { Executor } from "./executor.js";
import type { Finding } from "./fsck/finding.js";
import { fsck, pathsOf } from "./fsck/fsck.js";
import { askQuarantine } from "./ask-quarantine.js";
import type { DialStore } from "./store-calls.js";
import { DamagedRow, type MetaStore, type StoreSnapshot } from "./metastore.js";

export interface LongAnswersParts {
  readonly clock: Clock;
  readonly executor: Pick<Executor, "drained">;
  readonly cluster: Pick<Cluster, "cleaningDue" | "status">;
  readonly store: Pick<MetaStore, "snapshot">;
  readonly dialStore: DialStore;
}

type Part = NonNullable<AdminReply["op"]>;
type Op = NonNullable<AdminRequest["op"]>;

const LONG = ["dump", "fsck", "explainCleaning", "askQuarantine"] as const;

/** Requests that are answered in many parts. */
export type LongOp = Extract<Op, { $case: (typeof LONG)[number] }>;

export function isLong(op: Op): op is LongOp {
  return (LONG as readonly string[]).includes(op.$case);
}

/** Findings in one part. */
const FINDINGS = 100;

/**
 * The parts of the answer, made as they are taken: what was done when it was asked for, as it is on disk then. While it
 * is under way SQLite's log grows.
 */
export async function* longAnswer(op: LongOp, parts: LongAnswersParts): AsyncGenerator<Part> {
  const { clock, cluster, executor, store } = parts;
  if (op.$case === "askQuarantine") {
    for await (const value of askQuarantine(op.value.node, { ...parts, nodes: cluster.status().nodes }))
      yield { $case: "askQuarantine", value };
    return;
  }
  await executor.drained();
  const rows = await store.snapshot();
  try {
    if (op.$case === "explainCleaning") {
      for await (const one of cleaningCases(rows, await cluster.cleaningDue()))
        yield { $case: "explainCleaning", value: { cases: [one], last: false } };
      yield { $case: "explainCleaning", value: { cases: [], last: true } };
      return;
    }
    if (op.$case === "fsck") {
      yield* checked(rows);
      return;
    }
    const header = await headerOf(rows, { created: clock.now(), seq: await seqOf(rows), life: "" });
    for await (const data of writeDump(rows, header)) yield { $case: "dump", value: { data, last: false } };
    yield { $case: "dump", value: { data: Buffer.alloc(0), last: true } };
  } catch (error) {
    throw error instanceof DamagedRow ? new FsError("EIO", error.message, { cause: error }) : error;
  } finally {
    await rows.close();
  }
}

async function* checked(rows: StoreSnapshot): AsyncGenerator<Part> {
  const found = fsck(rows);
  let waiting: Finding[] = [];
  for (;;) {
    const { value, done } = await found.next();
    if (done !== true) waiting.push(value);
    if (done !== true && waiting.length < FINDINGS) continue;
    const findings = await withPaths(rows, waiting);
    waiting = [];
    if (done === true) {
      yield { $case: "fsck", value: { findings, last: true, ...value } };
      return;
    }
    yield { $case: "fsck", value: { findings, last: false, inodes: 0, chunks: 0 } };
  }
}

async function withPaths(rows: StoreSnapshot, findings: readonly Finding[]): Promise<FsckFinding[]> {
  const paths = await pathsOf(rows, new Set(findings.flatMap(({ inos }) => inos)));
  return findings.map(({ check, what, inos, chunk }) => ({
    ...{ check, what, chunk, inos: [...inos] },
    paths: inos.map((ino) => nameBytes((paths.get(ino) ?? "") as Name)),
  }));
}
