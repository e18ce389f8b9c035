/**
 * Handles as the kernel keeps them: 48 bits are the filesystem's number; the upper 16 say which of the processes that
 * served this mount one after the other gave it, and whether the file was opened for writing.
 */
const TAG_BITS = 16;
const TWO_16 = 0x1_0000;
const TWO_32 = 0x1_0000_0000;
/** Processes are told apart modulo this. */
const GENERATIONS = 1 << (TAG_BITS - 1);

/** The upper half of a handle without those bits of its number. */
export function tagOf(generation: number, write: boolean): number {
  return (generation % GENERATIONS) * 2 + (write ? 1 : 0);
}

export function isTagOf(generation: number, tag: number): boolean {
  return tag >>> 1 === generation % GENERATIONS;
}

export function mayWrite(tag: number): boolean {
  return (tag & 1) !== 0;
}

/** The two halves of a handle. */
export function halvesOf(number: number, tag: number): { readonly low: number; readonly high: number } {
  return { low: number % TWO_32, high: tag * TWO_16 + Math.floor(number / TWO_32) };
}

export function tagIn(high: number): number {
  return high >>> TAG_BITS;
}

export function numberOf({ low, high }: { readonly low: number; readonly high: number }): number {
  return (high % TWO_16) * TWO_32 + low;
}
