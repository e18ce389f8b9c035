import type { Tx } from "../tx.js";

/** Something that does not agree with the rest. */
export interface Finding {
  /** A fixed word: "children", "names", "refs" and so on. */
  readonly check: string;
  /** For people. */
  readonly what: string;
  /** Inodes that it is about, some of them if they are many. */
  readonly inos: readonly number[];
  /** Chunk that it is about; 0: none. */
  readonly chunk: number;
  /** Node whose copy it is about; absent: none. */
  readonly node?: number;
  /** What repair does. */
  readonly mend?: Mend;
  /** Why repair does nothing, and what a person can do. */
  readonly refusal?: string;
}

export interface Mend {
  /** For people. */
  readonly plan: string;
  /** One operation each, that finds out for itself whether it is still needed. */
  readonly how:
    | { readonly kind: "rule"; readonly rule: (tx: Tx) => boolean }
    /** The same; the file goes when nobody has it open. */
    | { readonly kind: "orphan"; readonly rule: (tx: Tx) => boolean }
    /** Each name of the folder gets its place in the listing. */
    | { readonly kind: "listing"; readonly dir: number }
    /** See mender.ts. */
    | { readonly kind: "copy" };
}

/** What is done about it, or why nothing is. */
export type Remedy = { readonly mend: Mend } | { readonly refusal: string };

export function ofInode(check: string, ino: number, what: string, remedy: Remedy): Finding {
  return { check, what: `inode ${ino}: ${what}`, inos: [ino], chunk: 0, ...remedy };
}

export function ofChunk(
  check: string,
  chunk: number,
  what: string,
  remedy: Remedy,
  inos: readonly number[] = [],
): Finding {
  return { check, what: `chunk ${chunk}: ${what}`, inos, chunk, ...remedy };
}

export function byRule(plan: string, rule: (tx: Tx) => boolean): Remedy {
  return { mend: { plan, how: { kind: "rule", rule } } };
}

export function refused(refusal: string): Remedy {
  return { refusal };
}
