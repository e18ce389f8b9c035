import { ReplicaState, type ChunkRow } from "../../../proto/gen/bigfs/v1/rows.js";
import { idIn, key } from "../keys.js";
import type { StoreSnapshot } from "../metastore.js";
import { ofChunk, type Finding } from "./finding.js";
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
        yield ofChunk("missing", chunk, `inode ${idIn(at)} needs it, and nothing is known of it`, [idIn(at)]);
        continue;
      }
      one.named += 1;
      if (!one.isReadable) noteIno((one.inos ??= []), idIn(at));
    }
  }
  const to = end === Infinity ? "H" : key.garbage(end);
  for await (const { row } of rowsIn<"G">(rows, { from: key.garbage(first), to })) {
    const one = counted.get(row.chunk);
    if (one === undefined) yield ofChunk("garbage", row.chunk, "it is to be removed, and nothing is known of it");
    else one.hasGarbageRow = true;
  }
}

export function noteIno(inos: number[], ino: number): void {
  if (inos.length < INOS_MAX && !inos.includes(ino)) inos.push(ino);
}

function* judge(chunk: number, one: Counted): Generator<Finding> {
  if (one.refs !== one.named) yield ofChunk("refs", chunk, `${one.named} slices name it, and it counts ${one.refs}`);
  if (one.isGarbage !== one.hasGarbageRow)
    yield ofChunk(
      "garbage",
      chunk,
      one.isGarbage ? "it is to be removed, and never will be" : "it is to be removed, and does not say so",
    );
  if (one.isGarbage && one.named > 0) yield ofChunk("garbage", chunk, "it is to be removed, and slices name it");
  if (one.named > 0 && !one.isReadable) yield ofChunk("lost", chunk, "no node has a copy of it", one.inos ?? []);
}
