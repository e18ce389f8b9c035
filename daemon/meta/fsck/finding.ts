/** Something of the metadata that does not agree with the rest of it. */
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
}

export function ofInode(check: string, ino: number, what: string): Finding {
  return { check, what: `inode ${ino}: ${what}`, inos: [ino], chunk: 0 };
}

export function ofChunk(check: string, chunk: number, what: string, inos: readonly number[] = []): Finding {
  return { check, what: `chunk ${chunk}: ${what}`, inos, chunk };
}
