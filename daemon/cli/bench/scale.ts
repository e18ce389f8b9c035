export const KIB = 1024;
export const MIB = 1024 * KIB;

/** How much each thread does. Sizes in bytes. */
export interface Scale {
  /** The large file; 0 leaves it out. */
  readonly bigSize: number;
  /** Of one write or read of a large file. */
  readonly blockSize: number;
  /** Random reads, and as many random writes. */
  readonly randomOps: number;
  readonly appends: number;
  /** How many; 0 leaves them out. */
  readonly smallFiles: number;
  readonly smallSize: number;
}

export const FULL: Scale = {
  bigSize: 1024 * MIB,
  blockSize: MIB,
  randomOps: 1_000,
  appends: 200,
  smallFiles: 1_000,
  smallSize: 4 * KIB,
};

/** For a first impression. */
export const QUICK: Scale = { ...FULL, bigSize: 64 * MIB, randomOps: 200, appends: 50, smallFiles: 200 };

/** Done before measuring, so that neither the filesystem nor this program does something for the first time. */
export const WARM_UP: Scale = { ...FULL, bigSize: 4 * MIB, randomOps: 50, appends: 5, smallFiles: 50 };

export const LIMITS = {
  bigSize: { min: 4 * KIB, max: 2 ** 40 },
  blockSize: { min: 4 * KIB, max: 64 * MIB },
  smallFiles: { min: 1, max: 1_000_000 },
  smallSize: { min: 0, max: 1024 * MIB },
  threads: { min: 1, max: 64 },
} as const;

/** Bytes that so many threads write. */
export function bytesOf({ bigSize, appends, smallFiles, smallSize }: Scale, threads: number): number {
  return threads * (bigSize + appends * 4 * KIB + smallFiles * smallSize);
}
