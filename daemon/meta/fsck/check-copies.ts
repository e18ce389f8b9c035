/**
 * Chunks against what the nodes have, while all of it changes.
 *
 * What does not agree at first sight is mostly on its way: written, confirmed or removed just then. So it is looked at
 * again after a pause, with the rows read before and after the node was asked, and counts only when all agree that it
 * does not agree. A page of rows, and of chunks of one node, is in memory at a time.
 */
import { FsError, errnoOf } from "../../../proto/errno.js";
import type { NodeInfo } from "../../../proto/gen/bigfs/v1/node.js";
import type { UncheckedNode } from "../../../proto/gen/bigfs/v1/meta.js";
import { ReplicaState, type ChunkRow } from "../../../proto/gen/bigfs/v1/rows.js";
import type { Clock } from "../../common/clock.js";
import { isOfKnownSession } from "../cluster/evidence.js";
import { pages } from "../cluster/pages.js";
import type { Executor } from "../executor.js";
import { key } from "../keys.js";
import type { DialStore, StoreCalls } from "../store-calls.js";
import { compareCopies, persistent, type Disagreement, type Held } from "./compare-copies.js";
import { ofChunk, refused, type Finding } from "./finding.js";

export interface CheckCopiesParts {
  readonly executor: Executor;
  readonly clock: Clock;
  readonly nodes: readonly NodeInfo[];
  readonly dialStore: DialStore;
}

/** A finding about the copy of one node. */
export interface CopyFinding extends Finding {
  readonly node: number;
  readonly disagreement: Disagreement;
}

/** Ids from <= id < to. */
interface Range {
  readonly from: number;
  readonly to: number;
}

type ChunkRows = ReadonlyMap<number, Readonly<ChunkRow>>;

/** What is on its way should be there after that. */
const PAUSE_MS = 1000;
/** Rows that nodes are asked about at a time. */
const ROWS = 4096;
/** Above every id. */
const ALL_IDS = Number.MAX_SAFE_INTEGER;

/** Returns the nodes that could not be asked, and why. */
export async function* checkCopies(parts: CheckCopiesParts): AsyncGenerator<CopyFinding, UncheckedNode[]> {
  const unchecked: UncheckedNode[] = [];
  const open = new Map<NodeInfo, StoreCalls>();
  const giveUp = (node: NodeInfo, error: unknown): void => {
    const why = error instanceof FsError && error.detail !== "" ? error.detail : errnoOf(error);
    unchecked.push({ node: node.id, name: node.name, why });
    open.get(node)?.close();
    open.delete(node);
  };
  try {
    for (const node of parts.nodes.filter(({ state }) => state !== "RETIRED")) {
      try {
        if (node.state !== "UP" && node.state !== "DRAINING") throw new FsError("EIO", `it is ${node.state}`);
        open.set(node, await parts.dialStore(node));
      } catch (error) {
        giveUp(node, error);
      }
    }
    for await (const { range, rows } of rangesOf(parts.executor)) {
      for (const [node, calls] of [...open]) {
        try {
          const found = await new Look(parts, node, calls).range(range, rows);
          yield* found.map((one) => explained(node, one, rows.get(one.chunk)));
        } catch (error) {
          giveUp(node, error);
        }
      }
    }
    return unchecked;
  } finally {
    for (const calls of open.values()) calls.close();
  }
}

/** All ids in ranges that follow each other, each with its rows. */
async function* rangesOf(executor: Executor): AsyncGenerator<{ range: Range; rows: ChunkRows }> {
  let from = 0;
  let rows = new Map<number, Readonly<ChunkRow>>();
  for await (const page of pages<"K">(executor, { from: "K", to: "L" })) {
    for (const { row } of page) rows.set(row.id, row);
    const last = page.at(-1)?.row.id;
    if (rows.size < ROWS || last === undefined) continue;
    yield { range: { from, to: last + 1 }, rows };
    from = last + 1;
    rows = new Map();
  }
  yield { range: { from, to: ALL_IDS }, rows };
}

/** One node, looked at. Rejects when it cannot be asked. */
class Look {
  constructor(
    private readonly parts: Pick<CheckCopiesParts, "executor" | "clock">,
    private readonly node: NodeInfo,
    private readonly calls: StoreCalls,
  ) {}

  /** `rows`: those of the range, as they were just now. */
  async range(range: Range, rows: ChunkRows): Promise<Disagreement[]> {
    const { clock } = this.parts;
    const found: Disagreement[] = [];
    for (let { from } = range; from < range.to;) {
      const page = await this.#ask({ from, to: range.to });
      const part = { from, to: page.next };
      from = page.next;
      const first = await this.#compare(part, rows, page.held);
      if (first.length === 0) continue;
      await new Promise<void>((resolve) => clock.after(PAUSE_MS, resolve));
      const before = await this.#rowsIn(part);
      const { held, next } = await this.#ask(part);
      const whole = { from: part.from, to: next };
      const after = await this.#rowsIn(part);
      const looks = [first, await this.#compare(whole, before, held), await this.#compare(whole, after, held)];
      found.push(...persistent(looks));
    }
    return found;
  }

  async #ask(range: Range): Promise<{ held: Map<number, Held>; next: number }> {
    const { header } = await this.calls.ask({ $case: "listHeld", value: range });
    const { chunks = [], lens = [], crcs = [], next = range.to } = header.held ?? {};
    if (next <= range.from) throw new FsError("EPROTO", `${this.node.address} does not get on`);
    return { held: new Map(chunks.map((chunk, i) => [chunk, { len: lens[i] ?? 0, crc: crcs[i] ?? 0 }])), next };
  }

  async #rowsIn({ from, to }: Range): Promise<ChunkRows> {
    const rows = new Map<number, Readonly<ChunkRow>>();
    const range = { from: key.chunk(from), to: to >= ALL_IDS ? "L" : key.chunk(to) };
    for await (const page of pages<"K">(this.parts.executor, range)) for (const { row } of page) rows.set(row.id, row);
    return rows;
  }

  /** Chunks without a row whose session is known may still get one: they are left out. */
  async #compare({ from, to }: Range, rows: ChunkRows, held: ReadonlyMap<number, Held>): Promise<Disagreement[]> {
    const here = new Map([...rows].filter(([chunk]) => chunk >= from && chunk < to));
    const all = compareCopies(this.node.id, here, held);
    const unknown = all.filter(({ kind }) => kind === "unknown").map(({ chunk }) => chunk);
    if (unknown.length === 0) return all;
    const { value } = await this.parts.executor.execute(
      0,
      (tx) => new Set(unknown.filter((chunk) => isOfKnownSession(tx, chunk))),
    );
    return all.filter(({ chunk }) => !value.has(chunk));
  }
}

function explained(node: NodeInfo, disagreement: Disagreement, row: Readonly<ChunkRow> | undefined): CopyFinding {
  const { chunk, kind, held } = disagreement;
  const at = `node ${node.id} (${node.name})`;
  const texts = {
    absent: `${at} does not have its copy, or not all of it`,
    differs: `${at} has ${held?.len} bytes with crc32 ${held?.crc} under that id, not ${row?.len} with ${row?.crc}`,
    unlisted: `${at} has a copy that is not listed`,
    unknown: `${at} has it, and nothing is known of it`,
  };
  const others = row?.replicas.filter((copy) => copy.node !== node.id && copy.state === ReplicaState.AVAILABLE) ?? [];
  const isLast = (kind === "absent" || kind === "differs") && others.length === 0;
  const remedy = isLast ? LAST : { mend: { plan: PLANS[kind], how: { kind: "copy" as const } } };
  return { ...ofChunk(kind, chunk, texts[kind], remedy), node: node.id, disagreement };
}

const LAST = refused(
  "no other copy is listed, and the last one is never dropped: start a node that had one, or restore the files",
);
const PLANS = {
  absent: "when another copy was read whole, it is dropped from the list, and a new one is made",
  differs: "when another copy was read whole, this one goes to quarantine, and a new one is made",
  unlisted: "when it was read whole, it is listed",
  unknown: "it goes as any chunk that nobody knows: as garbage, or to quarantine when its session is not known",
} as const;
