import type { Fsck, FsckFinding, FsckPart } from "../../../proto/gen/bigfs/v1/meta.js";
import { nameBytes, type Name } from "../../../proto/name.js";
import type { Clock } from "../../common/clock.js";
import { inWords, type MetaStore, type StoreSnapshot } from "../metastore.js";
import { checkCopies, type CheckCopiesParts, type CopyFinding } from "./check-copies.js";
import { refused, type Finding } from "./finding.js";
import { filesOf, fsck, pathsOf } from "./fsck.js";
import type { Mender } from "./mender.js";

export interface AnswerFsckParts extends CheckCopiesParts {
  readonly store: Pick<MetaStore, "snapshot">;
  readonly mender: Mender;
}

/** Findings of the metadata in one part; names are looked for once for each part. */
const FINDINGS = 100;
/** Findings about copies, for which all slots are read as well. */
const COPIES = 1000;
/** Checks of one repair that mend; the last one only looks. */
const ROUNDS = 5;
/** Who waits for the answer hears something so often. */
const BEAT_MS = 10_000;

interface Round {
  readonly round: number;
  /** undefined: nothing is repaired. */
  readonly mender: Mender | undefined;
}

interface Checked {
  /** Findings that were mended. */
  readonly mended: number;
  readonly last: FsckPart;
}

/** The parts of the answer, made as they are taken. While the metadata is being checked SQLite's log grows. */
export async function* answerFsck({ repair = false }: Fsck, parts: AnswerFsckParts): AsyncGenerator<FsckPart> {
  const release = repair ? parts.mender.begin() : () => {};
  try {
    yield* beating(rounds(parts, repair ? parts.mender : undefined), parts.clock);
  } catch (error) {
    throw inWords(error);
  } finally {
    release();
  }
}

async function* rounds(parts: AnswerFsckParts, mender: Mender | undefined): AsyncGenerator<FsckPart> {
  for (let round = 0; ; round++) {
    const { mended, last } = yield* check(parts, { round, mender: round < ROUNDS ? mender : undefined });
    if (mended > 0) continue;
    yield last;
    return;
  }
}

async function* check(parts: AnswerFsckParts, round: Round): AsyncGenerator<FsckPart, Checked> {
  const metadata = yield* checkMetadata(parts, round);
  const copies = batches(checkCopies(parts), COPIES);
  for (let { mended } = metadata; ;) {
    const { value, done } = await copies.next();
    if (done === true)
      return { mended, last: { ...part([], round), last: true, ...metadata.counts, unchecked: value } };
    const found = await withSnapshot(parts, async (rows) => {
      const findings = await withFiles(rows, value);
      return { findings, shown: await withPaths(rows, findings) };
    });
    mended += yield* told(found.findings, found.shown, round);
  }
}

async function* checkMetadata(parts: AnswerFsckParts, round: Round) {
  await parts.executor.drained();
  const rows = await parts.store.snapshot();
  try {
    const found = batches(fsck(rows), FINDINGS);
    for (let mended = 0; ;) {
      const { value, done } = await found.next();
      if (done === true) return { counts: value, mended };
      mended += yield* told(value, await withPaths(rows, value), round);
    }
  } finally {
    await rows.close();
  }
}

/** Tells what was found, mends it, and tells what came of that. Returns how many were mended. */
async function* told(
  findings: readonly Finding[],
  shown: FsckFinding[],
  round: Round,
): AsyncGenerator<FsckPart, number> {
  yield part(shown, round);
  let count = 0;
  for (const [i, finding] of findings.entries()) {
    const known = shown[i];
    if (round.mender === undefined || finding.mend === undefined || known === undefined) continue;
    const done = await round.mender.mend(finding);
    if (done.mended) count++;
    yield part([{ ...known, ...done }], round);
  }
  return count;
}

function part(findings: FsckFinding[], { round }: Pick<Round, "round"> = { round: 0 }): FsckPart {
  return { findings, last: false, inodes: 0, chunks: 0, unchecked: [], round };
}

/** With an empty part now and then while there is none. */
async function* beating(parts: AsyncGenerator<FsckPart>, clock: Clock): AsyncGenerator<FsckPart> {
  try {
    for (let next = parts.next(); ;) {
      let cancel = () => {};
      const beat = new Promise<"beat">((resolve) => (cancel = clock.after(BEAT_MS, () => resolve("beat"))));
      const result = await Promise.race([next, beat]).finally(() => cancel());
      if (result === "beat") {
        yield part([]);
        continue;
      }
      if (result.done === true) return;
      yield result.value;
      next = parts.next();
    }
  } finally {
    await parts.return(undefined);
  }
}

/** The items in arrays of at most `size`; returns what they return. */
async function* batches<T, R>(items: AsyncGenerator<T, R>, size: number): AsyncGenerator<T[], R> {
  let waiting: T[] = [];
  for (;;) {
    const { value, done } = await items.next();
    if (done !== true) waiting.push(value);
    if (waiting.length >= size || (done === true && waiting.length > 0)) {
      yield waiting;
      waiting = [];
    }
    if (done === true) return value;
  }
}

async function withSnapshot<T>(
  { store }: Pick<AnswerFsckParts, "store">,
  use: (rows: StoreSnapshot) => Promise<T>,
): Promise<T> {
  const rows = await store.snapshot();
  try {
    return await use(rows);
  } finally {
    await rows.close();
  }
}

/** Chunks that nobody knows of stay where they are when files name them. */
async function withFiles(rows: StoreSnapshot, findings: readonly CopyFinding[]): Promise<Finding[]> {
  const files = await filesOf(rows, new Set(findings.map(({ chunk }) => chunk)));
  return findings.map((finding) => {
    const inos = files.get(finding.chunk) ?? [];
    if (finding.check !== "unknown" || inos.length === 0) return { ...finding, inos };
    const { mend: _, ...bare } = finding;
    return { ...bare, inos, ...refused("files name it: its bytes stay there, for who restores the metadata") };
  });
}

async function withPaths(rows: StoreSnapshot, findings: readonly Finding[]): Promise<FsckFinding[]> {
  const paths = await pathsOf(rows, new Set(findings.flatMap(({ inos }) => inos)));
  return findings.map(({ check, what, inos, chunk, node, mend, refusal }) => ({
    ...{ check, what, chunk, node, inos: [...inos] },
    paths: inos.map((ino) => nameBytes((paths.get(ino) ?? "") as Name)),
    ...{ plan: mend?.plan, refusal, outcome: undefined, mended: undefined },
  }));
}
