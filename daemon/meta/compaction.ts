import type { Clock } from "../common/clock.js";
import { idIn, type Key } from "./keys.js";

export interface CompactionParts {
  readonly clock: Clock;
  /** Asks a session for it, if it has a stream. */
  readonly ask: (session: number, at: { readonly ino: number; readonly slot: number }) => void;
}

export interface CompactionOptions {
  /** A slot is asked for when it was first seen crowded so long ago, and again, if it still is, after as long. */
  readonly periodMs: number;
}

interface Entry {
  /** Who looked at it or changed it last: its data is likely to be in that client's memory. */
  readonly session: number;
  readonly dueMs: number;
}

/** Slots that are remembered; others are noted when they are used again. */
const NOTED_MAX = 10_000;
/** Slots that one pass asks for: each is read and written once, which shall not be in the way of the users. */
const ASKED_MAX = 8;

/**
 * Has slots that are in many pieces put together. Clients do it: they can read and write chunks, and the one that uses
 * the slot is the one that gains. What none does now is noted again when somebody next uses the slot.
 */
export class Compaction {
  readonly #noted = new Map<Key<"S">, Entry>();
  #done = 0;

  constructor(
    private readonly parts: CompactionParts,
    private readonly opts: CompactionOptions,
  ) {}

  /** Slots that wait. */
  get size(): number {
    return this.#noted.size;
  }

  /** Slots that were compacted since the daemon started. */
  get done(): number {
    return this.#done;
  }

  /** These slots were seen in many pieces by this session. */
  note(session: number, crowded: Iterable<Key<"S">>): void {
    for (const at of crowded) {
      const known = this.#noted.get(at);
      if (known === undefined && this.#noted.size >= NOTED_MAX) continue;
      this.#noted.set(at, { session, dueMs: known?.dueMs ?? this.#dueMs() });
    }
  }

  /** It was put together. */
  compacted(at: Key<"S">): void {
    this.#noted.delete(at);
    this.#done += 1;
  }

  /** Asks for what is due, the oldest first. A slot that was asked for and not answered in time is dropped. */
  pass(): void {
    const now = this.parts.clock.monotonicMs();
    const due = [...this.#noted].filter(([, { dueMs }]) => dueMs <= now).slice(0, ASKED_MAX);
    for (const [at, { session }] of due) {
      this.#noted.delete(at);
      this.parts.ask(session, { ino: idIn(at), slot: idIn(at, 1) });
    }
  }

  #dueMs(): number {
    return this.parts.clock.monotonicMs() + this.opts.periodMs;
  }
}
