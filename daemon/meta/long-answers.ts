import type { AdminReply, AdminRequest } from "../../proto/gen/bigfs/v1/meta.js";
import type { Clock } from "../common/clock.js";
import { askQuarantine } from "./ask-quarantine.js";
import { headerOf, writeDump } from "./backup/dump.js";
import { seqOf } from "./backup/logged-store.js";
import { cleaningCases } from "./cluster/cleaning-cases.js";
import type { Cluster } from "./cluster/cluster.js";
import type { Executor } from "./executor.js";
import { answerFsck } from "./fsck/answer.js";
import type { Mender } from "./fsck/mender.js";
import { inWords, type MetaStore } from "./metastore.js";
import type { DialStore } from "./store-calls.js";

export interface LongAnswersParts {
  readonly clock: Clock;
  readonly executor: Executor;
  readonly cluster: Pick<Cluster, "cleaningDue" | "status">;
  readonly store: Pick<MetaStore, "snapshot">;
  readonly dialStore: DialStore;
  readonly mender: Mender;
}

type Part = NonNullable<AdminReply["op"]>;
type Op = NonNullable<AdminRequest["op"]>;

const LONG = ["dump", "fsck", "explainCleaning", "askQuarantine"] as const;

/** Requests that are answered in many parts. */
export type LongOp = Extract<Op, { $case: (typeof LONG)[number] }>;

export function isLong(op: Op): op is LongOp {
  return (LONG as readonly string[]).includes(op.$case);
}

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
  if (op.$case === "fsck") {
    for await (const value of answerFsck(op.value, { ...parts, nodes: cluster.status().nodes }))
      yield { $case: "fsck", value };
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
    const header = await headerOf(rows, { created: clock.now(), seq: await seqOf(rows), life: "" });
    for await (const data of writeDump(rows, header)) yield { $case: "dump", value: { data, last: false } };
    yield { $case: "dump", value: { data: Buffer.alloc(0), last: true } };
  } catch (error) {
    throw inWords(error);
  } finally {
    await rows.close();
  }
}
