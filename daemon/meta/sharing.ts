import type { Opens, OpensWatcher } from "./opens.js";
import type { Phases } from "./phases.js";
import type { Recalls } from "./recalls.js";

export interface SharingParts {
  readonly opens: Opens;
  readonly recalls: Recalls;
  readonly phases: Phases;
  /** Tells a session that it need not write these through any more; lost when it is away. */
  readonly unshared: (session: number, inos: readonly number[]) => void;
}

/**
 * Files that several sessions have open, one of them at least to write: what is written to them is committed before it
 * is answered. Whoever makes a file so is answered when all who had it open know, and have committed what they wrote.
 */
export class Sharing implements OpensWatcher {
  /** Resolve when those who were told have confirmed it. */
  readonly #told = new Map<number, Promise<void>>();
  /** Recalls that a session has not confirmed, by session. */
  readonly #unconfirmed = new Map<number, Map<number, number>>();

  constructor(private readonly parts: SharingParts) {}

  /** All who have the file open but the one that asks are about to know that it is shared; undefined: they do know. */
  told(ino: number): Promise<void> | undefined {
    return this.#told.get(ino);
  }

  /**
   * For what a session stores that knows that the file is shared: others may still have to store what they wrote before
   * that. Undefined: they have, or the session is one of them.
   */
  stored(ino: number, session: number): Promise<void> | undefined {
    return this.#unconfirmed.get(ino)?.has(session) === true ? undefined : this.#told.get(ino);
  }

  shared(ino: number, by: number): void {
    const { opens } = this.parts;
    this.#tell(
      ino,
      opens.sessionsOf(ino).filter((session) => session !== by),
    );
  }

  unshared(ino: number): void {
    // Sessions that are not back yet may have it open.
    if (!this.parts.phases.isServing) return;
    for (const session of this.parts.opens.sessionsOf(ino)) this.parts.unshared(session, [ino]);
  }

  /** The session has declared what it has open: it may have missed what was told, or has forgotten it. */
  declared(session: number): void {
    const { opens, phases, unshared } = this.parts;
    const inos = opens.of(session);
    for (const ino of inos) if (opens.isShared(ino)) this.#tell(ino, [session]);
    const alone = inos.filter((ino) => !opens.isShared(ino));
    if (phases.isServing && alone.length > 0) unshared(session, alone);
  }

  #tell(ino: number, sessions: readonly number[]): void {
    const confirmed = sessions.map(async (session) => {
      this.#count(ino, session, 1);
      await this.parts.recalls.share(ino, [session]);
      this.#count(ino, session, -1);
    });
    const told = Promise.all([this.#told.get(ino), ...confirmed]).then(() => {
      if (this.#told.get(ino) === told) this.#told.delete(ino);
    });
    this.#told.set(ino, told);
  }

  #count(ino: number, session: number, change: 1 | -1): void {
    const unconfirmed = this.#unconfirmed.get(ino) ?? new Map<number, number>();
    const count = (unconfirmed.get(session) ?? 0) + change;
    if (count > 0) unconfirmed.set(session, count);
    else unconfirmed.delete(session);
    if (unconfirmed.size > 0) this.#unconfirmed.set(ino, unconfirmed);
    else this.#unconfirmed.delete(ino);
  }
}
