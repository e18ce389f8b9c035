/**
 * Takes nodes out of the volume for good: empty ones, and those that are lost.
 *
 * Invariants:
 * - Of a node that is not lost no row of a chunk names a copy when it is RETIRED, and none can come meanwhile: it has no
 *   stream by then, and nobody may name it.
 * - Copies on a RETIRED node do not count from that moment on; their rows are changed behind, by every census.
 */
import type { Logger } from "pino";
import { fail } from "../../../proto/errno.js";
import type { RemoveNode } from "../../../proto/gen/bigfs/v1/meta.js";
import { ReplicaState, type ChunkRow } from "../../../proto/gen/bigfs/v1/rows.js";
import type { Executor } from "../executor.js";
import { lostReplica } from "../rules/chunks.js";
import type { ChunkChanges } from "./changes.js";
import type { Member } from "./member.js";
import type { Membership } from "./membership.js";
import { pages } from "./pages.js";

export interface RetirementParts {
  readonly executor: Executor;
  readonly changes: ChunkChanges;
  readonly membership: Membership;
  readonly log: Logger;
  /** Throws when so few or so small nodes would be left that this one is needed. */
  readonly mustBeDrainable: (member: Member) => void;
}

export interface Retired {
  readonly member: Member;
  /** Chunks in use that have no copy any more. */
  readonly lostChunks: number;
}

interface Found {
  /** Copies on the node. */
  readonly copies: number;
  /** Those of chunks in use that have no other. */
  readonly last: number;
}

export class Retirement {
  constructor(private readonly parts: RetirementParts) {}

  /** EBUSY: it is not empty; with `lost`: it is there, or without `force` it has copies that nobody else has. */
  async remove({ node, lost, force }: RemoveNode): Promise<Retired> {
    const { membership, log } = this.parts;
    const member = membership.mustGet(node);
    let found: Found = { copies: 0, last: 0 };
    const look = async (): Promise<void> => {
      found = await this.#find(node);
      if (!lost) mustBeEmpty(member, found);
      else if (found.last > 0 && !force) {
        fail(
          "EBUSY",
          `${found.last} chunks have their only copy on ${member.row.name}; with --force they are given up`,
        );
      }
    };
    if (member.state.kind === "RETIRED") fail("EINVAL", `${member.row.name} was removed already`);
    if (lost && member.link !== undefined)
      fail("EBUSY", `${member.row.name} is not lost but ${member.state.kind}: drain it`);
    // Once before, so that a refusal costs the node nothing.
    await look();
    if (!lost && !member.row.draining) this.parts.mustBeDrainable(member);
    await membership.retire(node, look);
    const fields = { node, name: member.row.name, ...found };
    if (lost) log.warn(fields, "a node was given up, and its copies with it");
    return { member, lostChunks: lost ? found.last : 0 };
  }

  /** Copies on nodes that are RETIRED are lost. */
  async forget(rows: readonly Readonly<ChunkRow>[]): Promise<void> {
    const { membership, changes } = this.parts;
    const gone = rows.flatMap((row) =>
      row.replicas.filter(({ node }) => !membership.isMember(node)).map(({ node }) => ({ chunk: row.id, node })),
    );
    if (gone.length === 0) return;
    await changes.run(gone, { chunkOf: ({ chunk }) => chunk }, (tx, { chunk, node }) => {
      lostReplica(tx, node, chunk);
    });
  }

  async #find(node: number): Promise<Found> {
    const { executor, membership } = this.parts;
    let copies = 0;
    let last = 0;
    for await (const rows of pages<"K">(executor, { from: "K", to: "L" })) {
      for (const { row } of rows) {
        const own = row.replicas.find((copy) => copy.node === node);
        if (own === undefined) continue;
        copies++;
        const others = row.replicas.filter((copy) => copy.node !== node && membership.isMember(copy.node));
        if (row.refs > 0 && !others.some(({ state }) => state === ReplicaState.AVAILABLE)) last++;
      }
    }
    return { copies, last };
  }
}

function mustBeEmpty({ row, state }: Member, { copies }: Found): void {
  if (copies === 0) return;
  const next = row.draining ? "wait until it is drained" : `empty it first, with 'bigfsd node drain ${row.name}'`;
  const away = state.kind === "DOWN" ? "; when it is gone for good: --lost" : "";
  fail("EBUSY", `${row.name} has ${copies} copies: ${next}${away}`);
}
