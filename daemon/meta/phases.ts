/**
 * What the daemon does after it has started: it waits for the sessions that it knows (reconnect), lets them repeat what
 * was not durable (replay), then serves. Operations that nobody was told of wait for that.
 */
import type { Logger } from "pino";

export type Phase =
  | {
      readonly kind: "reconnect" | "replay";
      readonly away: ReadonlySet<number>;
      readonly replaying: ReadonlySet<number>;
    }
  | { readonly kind: "serve" }
  | { readonly kind: "stopping" };

export class Phases {
  /** Resolves when operations are served; never if the daemon is stopped before. */
  readonly served: Promise<void>;
  #phase: Phase;
  #tellServed!: () => void;

  /** `known`: sessions that have not ended. */
  constructor(
    private readonly parts: { readonly log: Logger },
    known: Iterable<number>,
  ) {
    this.served = new Promise((resolve) => (this.#tellServed = resolve));
    this.#phase = { kind: "reconnect", away: new Set(known), replaying: new Set() };
  }

  get phase(): Phase {
    return this.#phase;
  }

  get isServing(): boolean {
    return this.#phase.kind === "serve";
  }

  get isStopping(): boolean {
    return this.#phase.kind === "stopping";
  }

  /** Sessions that hold up service. */
  get awaited(): number[] {
    const phase = this.#phase;
    return phase.kind === "reconnect" || phase.kind === "replay" ? [...phase.away, ...phase.replaying] : [];
  }

  /** Begins; serves at once when there is nobody to wait for. */
  start(): void {
    this.#waitFor({ away: [], replaying: [] }, []);
  }

  /** The session is here again, and repeats. */
  returned(session: number): void {
    const { away } = this.#waiting();
    if (away.has(session)) this.#waitFor({ away: [session], replaying: [] }, [session]);
  }

  /** The session has nothing (more) to repeat, or has ended. */
  finished(session: number): void {
    this.#waitFor({ away: [session], replaying: [session] }, []);
  }

  stop(): void {
    this.#set({ kind: "stopping" });
  }

  #waiting(): { away: ReadonlySet<number>; replaying: ReadonlySet<number> } {
    const phase = this.#phase;
    return phase.kind === "reconnect" || phase.kind === "replay" ? phase : { away: new Set(), replaying: new Set() };
  }

  #waitFor(drop: { away: readonly number[]; replaying: readonly number[] }, add: readonly number[]): void {
    if (this.#phase.kind === "serve" || this.#phase.kind === "stopping") return;
    const { away, replaying } = this.#waiting();
    const stillAway = new Set([...away].filter((session) => !drop.away.includes(session)));
    const still = new Set([...replaying, ...add].filter((session) => !drop.replaying.includes(session)));
    if (stillAway.size > 0) this.#set({ kind: "reconnect", away: stillAway, replaying: still });
    else if (still.size > 0) this.#set({ kind: "replay", away: stillAway, replaying: still });
    else this.#set({ kind: "serve" });
  }

  #set(phase: Phase): void {
    if (phase.kind !== this.#phase.kind) this.parts.log.info({ from: this.#phase.kind, to: phase.kind }, "phase");
    this.#phase = phase;
    if (phase.kind === "serve") this.#tellServed();
  }
}
