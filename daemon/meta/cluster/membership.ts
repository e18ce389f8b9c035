/**
 * The nodes of the volume and what is known of their health.
 *
 * Invariants:
 * - A node's id is durable before it is told, and belongs to its uuid for ever.
 * - One stream for each node: the newest.
 * - A node goes DOWN only after a silence that this process could have heard: after a stall of the event loop the clock
 *   of silence goes on only when what waited in the sockets was read.
 * - Each change of a node's address, zone, weight or state makes a new map with a higher version.
 */
import type { Logger } from "pino";
import { FsError, fail } from "../../../proto/errno.js";
import type { SetNode } from "../../../proto/gen/bigfs/v1/meta.js";
import type { Heartbeat, Join, NodeMap } from "../../../proto/gen/bigfs/v1/node.js";
import type { Cancel, Clock } from "../../common/clock.js";
import type { Deadlines } from "../../common/deadlines.js";
import type { Executor } from "../executor.js";
import { joinNode, mustFit, mustNotHide, retireNode, setNode } from "./join.js";
import { MapVersion } from "./map-version.js";
import { Member, type NodeLink, type NodeState } from "./member.js";
import { pages } from "./pages.js";

export interface MembershipParts {
  readonly executor: Executor;
  readonly clock: Clock;
  readonly log: Logger;
  readonly deadlines: Pick<Deadlines, "nodeDownMs">;
  readonly volume: { readonly uuid: string };
}

/** Silence is looked at so often within nodeDownMs. */
const LOOKS = 20;

export class Membership {
  readonly #members = new Map<number, Member>();
  readonly #byUuid = new Map<string, Member>();
  readonly #version: MapVersion;
  readonly #mapListeners: ((map: NodeMap) => void)[] = [];
  readonly #stateListeners: ((member: Member, isSameStream: boolean) => void)[] = [];
  #map: NodeMap = { version: 0, nodes: [] };
  /** What gives ids and names goes one after the other. */
  #lastChange: Promise<unknown> = Promise.resolve();
  #cancelLook: Cancel | undefined;

  constructor(private readonly parts: MembershipParts) {
    this.#version = new MapVersion(parts);
  }

  /** Reads the nodes; they are SUSPECT until they come back. */
  async load(): Promise<void> {
    const { executor, clock, log } = this.parts;
    for await (const rows of pages<"N">(executor, { from: "N", to: "O" })) {
      for (const { row } of rows) {
        const state: NodeState = { kind: row.retired ? "RETIRED" : "SUSPECT" };
        this.#add(new Member(row, state, { log, nowMs: clock.monotonicMs() }));
      }
    }
    await this.#version.load();
    this.#rebuild(this.#version.current);
    this.#lookLater();
  }

  stop(): void {
    this.#cancelLook?.();
    for (const member of this.#members.values()) member.link?.close(new FsError("EIO", "the metadata daemon stops"));
  }

  map(): NodeMap {
    return this.#map;
  }

  onMap(fn: (map: NodeMap) => void): void {
    this.#mapListeners.push(fn);
  }

  /** Called after each change of state, when the map has it; `isSameStream`: the node has the one that it had. */
  onState(fn: (member: Member, isSameStream: boolean) => void): void {
    this.#stateListeners.push(fn);
  }

  get(node: number): Member | undefined {
    return this.#members.get(node);
  }

  mustGet(node: number): Member {
    return this.#members.get(node) ?? fail("ENOENT", `there is no node ${node}`);
  }

  /** Whether copies may be recorded there. */
  isMember(node: number): boolean {
    const kind = this.#members.get(node)?.state.kind;
    return kind !== undefined && kind !== "RETIRED";
  }

  all(): Iterable<Member> {
    return this.#members.values();
  }

  isLive(node: number): boolean {
    return this.#members.get(node)?.isLive === true;
  }

  /** Whether the node has joined before, with the same address. */
  isAt({ uuid, address }: Pick<Join, "uuid" | "address">): boolean {
    return this.#byUuid.get(uuid)?.row.address === address;
  }

  /** Gives the node its id, durable; it is not UP before `welcome`. EINVAL when it cannot join. */
  join(join: Join): Promise<Member> {
    return this.#inTurn(() => this.#join(join));
  }

  /** What an administrator has chosen, durable. EEXIST: another node has that name. `check` may refuse it. */
  set(change: SetNode, check: (member: Member) => void = () => {}): Promise<Member> {
    return this.#inTurn(() => this.#set(change, check));
  }

  /**
   * The node is RETIRED from now on, durable, unless `check` throws. While that looks, the node has no stream, and no copy
   * is recorded there.
   */
  retire(node: number, check: () => Promise<void>): Promise<Member> {
    return this.#inTurn(() => this.#retire(node, check));
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#lastChange.then(work);
    this.#lastChange = done.catch(() => {});
    return done;
  }

  async #retire(node: number, check: () => Promise<void>): Promise<Member> {
    const member = this.mustGet(node);
    const { link } = member;
    this.#enter(member, { kind: "RETIRED" }, "it is removed");
    link?.close(new FsError("ENXIO", "an administrator has removed this node from the volume"));
    const { executor } = this.parts;
    try {
      await check();
    } catch (error) {
      this.#enter(member, { kind: "DOWN" }, "it is not removed after all");
      throw error;
    }
    const { value, batch } = await executor.execute(0, (tx) => retireNode(tx, node));
    await executor.whenDurable(batch);
    member.describe(value);
    this.#changed();
    return member;
  }

  async #set(change: SetNode, check: (member: Member) => void): Promise<Member> {
    const member = this.mustGet(change.node);
    const { executor } = this.parts;
    check(member);
    const other = [...this.#members.values()].find((one) => one !== member && one.row.name === change.name);
    if (other !== undefined) fail("EEXIST", `node ${other.id} has the name ${other.row.name}`);
    const { value, batch } = await executor.execute(0, (tx) => setNode(tx, change));
    await executor.whenDurable(batch);
    const { capacity, used } = member.row;
    member.describe({ ...value, capacity, used });
    if (change.draining === undefined) this.#changed();
    else if (member.link === undefined)
      this.#enter(member, member.state, change.draining ? "to be drained" : "to stay");
    else this.#enter(member, stateWith(member, member.link), change.draining ? "it is drained" : "it stays");
    return member;
  }

  /** From now on this is the node's stream; an older one is closed. */
  welcome(member: Member, link: NodeLink): void {
    if (member.state.kind === "RETIRED") {
      link.close(new FsError("ENXIO", "an administrator has removed this node from the volume"));
      return;
    }
    const older = member.link;
    member.lastHeardMs = member.lastHeartbeatMs = this.parts.clock.monotonicMs();
    this.#enter(member, stateWith(member, link), "it joined");
    older?.close(new FsError("ESTALE", "the same data folder has joined over a newer stream"));
  }

  heard(member: Member): void {
    member.lastHeardMs = this.parts.clock.monotonicMs();
  }

  heartbeat(member: Member, heartbeat: Heartbeat): void {
    member.lastHeartbeatMs = this.parts.clock.monotonicMs();
    const isOther = member.beat(heartbeat);
    const { link, state } = member;
    const next = link === undefined ? state : stateWith(member, link);
    if (state.kind !== next.kind) this.#enter(member, next, heartbeat.failing ?? "its disk is good");
    else if (isOther) this.#changed();
  }

  /** The node's stream has ended; `left`: in good order, so that nobody waits for it. */
  ended(member: Member, link: NodeLink, left: boolean): void {
    if (member.link !== link) return;
    if (left) this.#enter(member, { kind: "DOWN" }, "it left");
    else this.#enter(member, { kind: "SUSPECT" }, "its stream broke");
  }

  async #join(join: Join): Promise<Member> {
    const { executor, clock, log, volume } = this.parts;
    mustFit(join, volume.uuid);
    const known = this.#byUuid.get(join.uuid);
    if (known === undefined)
      mustNotHide(
        join,
        Array.from(this.#members.values(), ({ row }) => row),
      );
    const { value: row, batch } = await executor.execute(0, (tx) => joinNode(tx, join, known?.id));
    const member = known ?? new Member(row, { kind: "JOINING" }, { log, nowMs: clock.monotonicMs() });
    if (known === undefined) this.#add(member);
    await executor.whenDurable(batch);
    member.describe(row);
    this.#changed();
    return member;
  }

  #add(member: Member): void {
    this.#members.set(member.id, member);
    this.#byUuid.set(member.row.uuid, member);
  }

  #enter(member: Member, state: NodeState, why: string): void {
    const { link } = member;
    member.enter(state, why);
    this.#changed();
    for (const listener of this.#stateListeners) listener(member, link !== undefined && link === member.link);
  }

  #changed(): void {
    this.#rebuild(this.#version.next());
    for (const listener of this.#mapListeners) listener(this.#map);
  }

  #rebuild(version: number): void {
    this.#map = { version, nodes: [...this.#members.values()].map((member) => member.info()) };
  }

  #lookLater(): void {
    const { clock, deadlines } = this.parts;
    const pauseMs = deadlines.nodeDownMs / LOOKS;
    const dueMs = clock.monotonicMs() + pauseMs;
    this.#cancelLook = clock.after(pauseMs, () => {
      const isPunctual = clock.monotonicMs() - dueMs < pauseMs;
      this.#lookLater();
      if (isPunctual) this.#look();
    });
  }

  #look(): void {
    const { clock, deadlines } = this.parts;
    const silentSince = clock.monotonicMs() - deadlines.nodeDownMs;
    for (const member of this.#members.values()) {
      const { kind } = member.state;
      if (member.lastHeardMs > silentSince || kind === "DOWN" || kind === "RETIRED" || kind === "JOINING") continue;
      const { link } = member;
      this.#enter(member, { kind: "DOWN" }, `silent for ${deadlines.nodeDownMs} ms`);
      link?.close(new FsError("ETIMEDOUT", "the node was silent for too long"));
    }
  }
}

function stateWith(member: Member, link: NodeLink): NodeState {
  return { kind: member.row.draining || member.isFailing ? "DRAINING" : "UP", link };
}
