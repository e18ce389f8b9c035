import type { Logger } from "pino";
import type { Heartbeat, NodeFrame, NodeInfo, NodeReply } from "../../../proto/gen/bigfs/v1/node.js";
import type { NodeRow } from "../../../proto/gen/bigfs/v1/rows.js";
import type { Link } from "../../common/rpc/link.js";

export type NodeLink = Link<NodeReply, NodeFrame>;
export type Push = NonNullable<NodeReply["op"]>;

/**
 * JOINING: has an id that is not durable yet. UP: has a stream. SUSPECT: its stream broke, or it has not come back since
 * this daemon started. DOWN: silent for too long, or it said goodbye. DRAINING: has a stream and gets no new chunks, also
 * while its disk fails.
 * RETIRED: may not come back.
 */
export type NodeState =
  | { readonly kind: "JOINING" }
  | { readonly kind: "UP"; readonly link: NodeLink }
  | { readonly kind: "DRAINING"; readonly link: NodeLink }
  | { readonly kind: "SUSPECT" }
  | { readonly kind: "DOWN" }
  | { readonly kind: "RETIRED" };

const GIB = 2 ** 30;
const WEIGHT_MIN = 0.001;
/** A weight in the map that differs by less than this share is left: each new map goes to every process. */
const WEIGHT_TOLERANCE = 0.1;

/** A node as the running daemon knows it. */
export class Member {
  #row: NodeRow;
  #state: NodeState;
  #heartbeat: Heartbeat | undefined;
  #weight: number;
  /** Monotonic time of the last message, and of the last that said how it is. */
  lastHeardMs: number;
  lastHeartbeatMs: number;

  constructor(
    row: NodeRow,
    state: NodeState,
    private readonly parts: { readonly log: Logger; readonly nowMs: number },
  ) {
    this.#row = row;
    this.#state = state;
    this.#weight = weightOf(row);
    this.lastHeardMs = parts.nowMs;
    this.lastHeartbeatMs = parts.nowMs;
  }

  get id(): number {
    return this.#row.id;
  }

  get row(): Readonly<NodeRow> {
    return this.#row;
  }

  get state(): NodeState {
    return this.#state;
  }

  /** Its stream, while it has one. */
  get link(): NodeLink | undefined {
    return this.#state.kind === "UP" || this.#state.kind === "DRAINING" ? this.#state.link : undefined;
  }

  /** Whether its disk fails, by its own word. */
  get isFailing(): boolean {
    return this.#heartbeat?.failing !== undefined;
  }

  /** Whether its copies count as present. Those on a failing disk are only what others are made from. */
  get isLive(): boolean {
    if (this.isFailing) return false;
    return this.link !== undefined || this.#state.kind === "SUSPECT";
  }

  /** The one door for changes of state. */
  enter(state: NodeState, why: string): void {
    const from = this.#state.kind;
    this.#state = state;
    this.parts.log.info({ node: this.id, name: this.#row.name, from, to: state.kind, why }, "a node changed its state");
  }

  /** What it said when it joined. */
  describe(row: NodeRow): void {
    this.#row = row;
    this.#reweigh();
  }

  /** What it says now. True: its weight in the map changed. */
  beat(heartbeat: Heartbeat): boolean {
    this.#heartbeat = heartbeat;
    this.#row = { ...this.#row, capacity: heartbeat.capacity, used: heartbeat.used };
    return this.#reweigh();
  }

  push(op: Push): void {
    this.link?.send({ id: 0, errno: "", detail: "", op });
  }

  info(): NodeInfo {
    const { id, name, address, zone, capacity, used, uuid } = this.#row;
    return {
      ...{ id, name, address, zone, capacity, used, uuid },
      weight: this.#weight,
      state: this.#state.kind,
      chunks: this.#heartbeat?.chunks ?? 0,
      load: this.#heartbeat?.load,
      unscrubbedSec: this.#heartbeat?.unscrubbedSec,
      failing: this.#heartbeat?.failing,
    };
  }

  #reweigh(): boolean {
    const fresh = weightOf(this.#row);
    if (Math.abs(fresh - this.#weight) <= this.#weight * WEIGHT_TOLERANCE) return false;
    this.#weight = fresh;
    return true;
  }
}

function weightOf(row: NodeRow): number {
  return Math.max(WEIGHT_MIN, (row.capacity - row.used) / GIB);
}
