/**
 * What storage daemons say of their chunks becomes rows. A node is believed about itself; about others only as the
 * primary that stored a chunk together with them.
 *
 * Every method resolves when the rows have changed (not yet durable) with the batch that makes them so; the caller
 * answers the node when that is on disk. It throws when part of the report was refused; the rest is recorded.
 */
import type { Logger } from "pino";
import { errnoFromWire, fail, FsError } from "../../../proto/errno.js";
import type { StoredChunk } from "../../../proto/gen/bigfs/v1/node.js";
import type { VolumeRow } from "../../../proto/gen/bigfs/v1/rows.js";
import type { Clock } from "../../common/clock.js";
import type { Executor } from "../executor.js";
import { confirmChunk, lostReplica, removedChunk, syncedChunk } from "../rules/chunks.js";
import type { Tx } from "../tx.js";
import type { ChunkChanges, Outcome } from "./changes.js";
import type { ClusterMetrics } from "./cluster-metrics.js";
import { EarlyWords } from "./early-words.js";
import { heldUnregistered, holds, registers, rowsRead, type Fate } from "./evidence.js";
import type { Member } from "./member.js";
import type { Membership } from "./membership.js";
import type { Unexplained } from "./unexplained.js";

export interface ReportsParts {
  readonly executor: Executor;
  readonly changes: ChunkChanges;
  readonly membership: Membership;
  readonly unexplained: Unexplained;
  readonly metrics: ClusterMetrics;
  readonly clock: Clock;
  readonly log: Logger;
  readonly volume: Readonly<Pick<VolumeRow, "cleaningOff">>;
}

export interface ReportsOptions {
  /** "It is not here" counts as removed from a node whose last heartbeat is younger than this. */
  readonly recentHeartbeatMs: number;
}

export class Reports {
  readonly #early = new EarlyWords();

  constructor(
    private readonly parts: ReportsParts,
    private readonly opts: ReportsOptions,
  ) {}

  /** A primary has stored these, with the nodes that it names. */
  async register(primary: Member, chunks: readonly StoredChunk[]): Promise<number> {
    const { changes, membership } = this.parts;
    const { outcomes, batch } = await changes.run(chunks, { chunkOf, hint: rowsRead }, (tx, stored) =>
      this.#registers(tx, primary.id, stored),
    );
    for (const { item, result, after } of outcomes) {
      if (after !== undefined) this.#early.forget(item.chunk);
      const told = item.nodes.flatMap((node) => membership.get(node) ?? []);
      if (result === "unknown") this.#quarantine(told, item.chunk, "its id was never given out");
      if (result === "deleting") this.#removeWhenDurable(told, item.chunk, batch);
      if (result === "different") this.#alarm(primary, item, after);
    }
    refuseUnless(outcomes, ["recorded", "garbage"]);
    return batch;
  }

  /** The node holds these itself. `skip`: those of which there is newer word. */
  async confirm(
    member: Member,
    chunks: readonly StoredChunk[],
    skip: (chunk: number) => boolean = () => false,
  ): Promise<number> {
    const { outcomes, batch } = await this.parts.changes.run(chunks, { chunkOf, hint: rowsRead }, (tx, stored) =>
      skip(stored.chunk) ? "recorded" : this.#holds(tx, member.id, stored),
    );
    for (const outcome of outcomes) this.#afterHolds(member, outcome, batch);
    refuseUnless(outcomes, ["recorded", "garbage", "deleting", "early", "unknown", "different"]);
    return batch;
  }

  /** Decides what can be decided of chunks that nobody registered: their sessions may have ended meanwhile. */
  async explain(): Promise<void> {
    for (const [node, chunks] of this.parts.unexplained.take()) {
      const { outcomes } = await this.parts.changes.run(chunks, { chunkOf, hint: rowsRead }, (tx, stored) =>
        heldUnregistered(tx, node, stored),
      );
      for (const { item, result } of outcomes) if (result === "early") this.parts.unexplained.add(node, item);
    }
  }

  /** The node has fsynced these. */
  async synced(member: Member, chunks: readonly number[]): Promise<number> {
    const { outcomes, batch } = await this.parts.changes.run(chunks, { chunkOf: same }, (tx, chunk) =>
      syncedChunk(tx, member.id, chunk),
    );
    for (const { item, result, after } of outcomes) {
      if (result === false && after === undefined) {
        this.#early.add(item, { node: member.id, stored: undefined, synced: true });
      }
    }
    return batch;
  }

  /** The node has removed these, or never had them. */
  async removed(member: Member, chunks: readonly number[]): Promise<number> {
    const { changes, clock, metrics } = this.parts;
    if (clock.monotonicMs() - member.lastHeartbeatMs > this.opts.recentHeartbeatMs) {
      throw new FsError("EAGAIN", "send a heartbeat first: what a silent node does not have does not count as removed");
    }
    const { batch } = await changes.run(chunks, { chunkOf: same }, (tx, chunk) => removedChunk(tx, member.id, chunk));
    metrics.removed.inc(chunks.length);
    return batch;
  }

  /** The node's copies are gone or bad. */
  async lost(member: Member, chunks: readonly number[], errno: string): Promise<number> {
    const { changes, log, metrics } = this.parts;
    for (const chunk of chunks) this.#early.retract(chunk, member.id);
    const { outcomes, batch } = await changes.run(chunks, { chunkOf: same }, (tx, chunk) =>
      lostReplica(tx, member.id, chunk),
    );
    for (const { item, result } of outcomes) {
      if (result === undefined || result instanceof FsError) continue;
      metrics.lost.inc();
      const left = result.replicas.length;
      const fields = { chunk: item, node: member.id, errno: errnoFromWire(errno), left };
      if (left === 0 && result.refs > 0) log.error(fields, "the last copy of a chunk is lost");
      else log.warn(fields, "a copy of a chunk is lost");
    }
    return batch;
  }

  /** The node's stream has ended: what it said before is confirmed again when it is back. */
  disconnected(node: number): void {
    this.#early.forgetNode(node);
  }

  #holds(tx: Tx, node: number, stored: StoredChunk): Fate {
    if (!this.parts.membership.isMember(node)) fail("ENXIO", `node ${node} was removed`);
    return holds(tx, node, stored);
  }

  #registers(tx: Tx, primary: number, stored: StoredChunk): Fate {
    const fate = registers(tx, primary, stored, (node) => this.parts.membership.isMember(node));
    if (fate !== "recorded") return fate;
    for (const { node, stored: held, synced } of this.#early.of(stored.chunk)) {
      const isSame = held?.len === stored.len && held.crc === stored.crc;
      if (isSame) confirmChunk(tx, node, { ...stored, synced: [] });
      if (synced) syncedChunk(tx, node, stored.chunk);
    }
    return fate;
  }

  #afterHolds(member: Member, { item, result, after }: Outcome<StoredChunk, Fate>, batch: number): void {
    const { chunk, len, crc, synced } = item;
    switch (result) {
      case "early":
        this.#early.add(chunk, { node: member.id, stored: { len, crc }, synced: synced.includes(member.id) });
        this.parts.unexplained.add(member.id, item);
        return;
      case "unknown":
        this.#quarantine([member], chunk, "nothing is known of it");
        return;
      case "different":
        this.#alarm(member, item, after);
        this.#quarantine([member], chunk, "it is recorded with other bytes");
        return;
      case "deleting":
        this.#removeWhenDurable([member], chunk, batch);
        return;
      default:
    }
  }

  #quarantine(members: readonly Member[], chunk: number, why: string): void {
    this.parts.metrics.quarantined.inc(members.length);
    for (const member of members) {
      this.parts.log.warn({ chunk, node: member.id, why }, "a chunk that nobody can explain goes to quarantine");
      member.push({ $case: "quarantine", value: { chunks: [chunk], why } });
    }
  }

  #alarm(member: Member, stored: StoredChunk, row: { len: number; crc: number } | undefined): void {
    const { chunk, len, crc } = stored;
    const fields = { chunk, node: member.id, stored: { len, crc }, recorded: { len: row?.len, crc: row?.crc } };
    this.parts.log.error(fields, "a node stored other bytes under the id of a chunk");
  }

  #removeWhenDurable(members: readonly Member[], chunk: number, batch: number): void {
    // It is recorded: cleaning does it when it is on.
    if (this.parts.volume.cleaningOff) return;
    const tell = () => members.forEach((member) => member.push({ $case: "remove", value: { chunks: [chunk] } }));
    this.parts.executor.whenDurable(batch).then(tell, () => {}); // a failed commit stops the daemon
  }
}

function chunkOf(stored: StoredChunk): number {
  return stored.chunk;
}

function same(chunk: number): number {
  return chunk;
}

const REFUSALS: { readonly [F in Fate]?: FsError } = {
  unknown: new FsError("ESTALE", "the id of a chunk was never given out"),
  deleting: new FsError("ESTALE", "the deletion of a chunk is recorded"),
  different: new FsError("EIO", "a chunk is recorded with other bytes"),
};

/** Throws the first error among the results, and of fates that are not accepted. */
function refuseUnless(outcomes: readonly Outcome<unknown, Fate>[], accepted: readonly Fate[]): void {
  for (const { result } of outcomes) {
    if (result instanceof FsError) throw result;
    if (!accepted.includes(result)) throw REFUSALS[result] ?? new FsError("EIO", result);
  }
}
