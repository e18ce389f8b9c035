import { ReplicaState, type ChunkRow } from "../../../proto/gen/bigfs/v1/rows.js";
import { idIn, key } from "../keys.js";
import type { StoreSnapshot } from "../metastore.js";
import { dropGarbage, mendChunk } from "../rules/mend.js";
import { byRule, ofChunk, refused, type Finding } from "./finding.js";
import { rowsIn } from "./rows-in.js";

interface Counted {
  readonly refs: number;
  readonly isGarbage: boolean;
  readonly isReadable: boolean;
  named: number;
  hasGarbageRow: boolean;
  /** Of one that cannot be read: files that need it, some. */
  inos: number[] | undefined;
}

/** Chunks whose counters are in memory at a time. All slots are read once for each part. */
const PART = 100_000;
/** Files that are told of one chunk. */
const INOS_MAX = 10;

/** Chunks against slots, garbage and copies. Returns how many there are. */
export async function* checkChunks(rows: StoreSnapshot, part = PART): AsyncGenerator<Finding, number> {
  let total = 0;
  for (let first = 0; ;) {
    const counted = new Map<number, Counted>();
    let end = Infinity;
    for await (const { row } of rowsIn<"K">(rows, { from: key.chunk(first), to: "L" })) {
      if (counted.size === part) {
        end = row.id;
        break;
      }
      counted.set(row.id, newCounted(row));
    }
    total += counted.size;
    yield* count(rows, counted, { first, end });
    for (const [chunk, one] of counted) yield* judge(chunk, one);
    if (end === Infinity) return total;
    first = end;
  }
}

function newCounted({ refs, garbage, replicas }: ChunkRow): Counted {
  const isReadable = replicas.some(({ state }) => state === ReplicaState.AVAILABLE);
  return { refs, isGarbage: garbage, isReadable, named: 0, hasGarbageRow: false, inos: undefined };
}

async function* count(
  rows: StoreSnapshot,
  counted: ReadonlyMap<number, Counted>,
  { first, end }: { readonly first: number; readonly end: number },
): AsyncGenerator<Finding> {
  const isHere = (chunk: number): boolean => chunk >= first && chunk < end;
  for await (const { key: at, row } of rowsIn<"S">(rows, { from: "S", to: "T" })) {
    for (const chunk of [...row.slices.map((slice) => slice.chunk), ...row.dropped]) {
      if (chunk === 0 || !isHere(chunk)) continue;
      const one = counted.get(chunk);
      if (one === undefined) {
        const what = `inode ${idIn(at)} needs it, and nothing is known of it`;
        yield ofChunk("missing", chunk, what, MISSING, [idIn(at)]);
        continue;
      }
      one.named += 1;
      if (!one.isReadable) noteIno((one.inos ??= []), idIn(at));
    }
  }
  const to = end === Infinity ? "H" : key.garbage(end);
  for await (const { row } of rowsIn<"G">(rows, { from: key.garbage(first), to })) {
    const one = counted.get(row.chunk);
    if (one === undefined)
      yield ofChunk(
        "garbage",
        row.chunk,
        "it is to be removed, and nothing is known of it",
        byRule("the note is dropped", (tx) => dropGarbage(tx, row.chunk)),
      );
    else one.hasGarbageRow = true;
  }
}

export function noteIno(inos: number[], ino: number): void {
  if (inos.length < INOS_MAX && !inos.includes(ino)) inos.push(ino);
}

const MISSING = refused(
  "where its bytes are is not known: restore a dump, or 'bigfsd meta restore' into a new folder; nodes keep what they have",
);
const LOST = refused(
  "a chunk without a copy stays listed: start a node that had it again, or write the files anew from a backup",
);

function* judge(chunk: number, one: Counted): Generator<Finding> {
  const { refs, isGarbage, named } = one;
  const plan = named > 0 ? `it counts ${named}, and is no garbage` : "it goes as garbage, after the delay";
  const remedy = byRule(plan, (tx) => mendChunk(tx, chunk, { refs, isGarbage, named }));
  if (refs !== named) yield ofChunk("refs", chunk, `${named} slices name it, and it counts ${refs}`, remedy);
  if (isGarbage !== one.hasGarbageRow)
    yield ofChunk(
      "garbage",
      chunk,
      isGarbage ? "it is to be removed, and never will be" : "it is to be removed, and does not say so",
      remedy,
    );
  if (isGarbage && named > 0) yield ofChunk("garbage", chunk, "it is to be removed, and slices name it", remedy);
  if (named > 0 && !one.isReadable) yield ofChunk("lost", chunk, "no node has a copy of it", LOST, one.inos ?? []);
}
