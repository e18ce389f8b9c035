import type { FsckFinding, FsckPart } from "../../../proto/gen/bigfs/v1/meta.js";
import { nameBytes, type Name } from "../../../proto/name.js";
import { inWords, type MetaStore, type StoreSnapshot } from "../metastore.js";
import { checkCopies, type CheckCopiesParts } from "./check-copies.js";
import type { Finding } from "./finding.js";
import { filesOf, fsck, pathsOf } from "./fsck.js";

export interface AnswerFsckParts extends CheckCopiesParts {
  readonly store: Pick<MetaStore, "snapshot">;
}

/** Findings of the metadata in one part; names are looked for once for each part. */
const FINDINGS = 100;
/** Findings about copies, for which all slots are read as well. */
const COPIES = 1000;

/** The parts of the answer, made as they are taken. While the metadata is being checked SQLite's log grows. */
export async function* answerFsck(parts: AnswerFsckParts): AsyncGenerator<FsckPart> {
  try {
    const counts = yield* checkMetadata(parts);
    const copies = batches(checkCopies(parts), COPIES);
    for (;;) {
      const { value, done } = await copies.next();
      if (done === true) {
        yield { findings: [], last: true, ...counts, unchecked: value };
        return;
      }
      yield part(await withSnapshot(parts, async (rows) => withPaths(rows, await withFiles(rows, value))));
    }
  } catch (error) {
    throw inWords(error);
  }
}

async function* checkMetadata(parts: AnswerFsckParts) {
  await parts.executor.drained();
  const rows = await parts.store.snapshot();
  try {
    const found = batches(fsck(rows), FINDINGS);
    for (;;) {
      const { value, done } = await found.next();
      if (done === true) return value;
      yield part(await withPaths(rows, value));
    }
  } finally {
    await rows.close();
  }
}

function part(findings: FsckFinding[]): FsckPart {
  return { findings, last: false, inodes: 0, chunks: 0, unchecked: [] };
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

async function withFiles<F extends Finding>(rows: StoreSnapshot, findings: readonly F[]): Promise<F[]> {
  const files = await filesOf(rows, new Set(findings.map(({ chunk }) => chunk)));
  return findings.map((finding) => ({ ...finding, inos: files.get(finding.chunk) ?? [] }));
}

async function withPaths(rows: StoreSnapshot, findings: readonly Finding[]): Promise<FsckFinding[]> {
  const paths = await pathsOf(rows, new Set(findings.flatMap(({ inos }) => inos)));
  return findings.map(({ check, what, inos, chunk, node }) => ({
    ...{ check, what, chunk, node, inos: [...inos] },
    paths: inos.map((ino) => nameBytes((paths.get(ino) ?? "") as Name)),
  }));
}
