/**
 * The crc32 of bytes that lie one behind the other, from the crc32 of each part: nothing is hashed twice. The algorithm is
 * that of zlib's crc32_combine: crc32 is arithmetic with polynomials over GF(2), reflected (bit 31 is x^0).
 */
const POLYNOMIAL = 0xedb88320;
const ONE = 0x80000000 | 0;

/** a * b modulo the polynomial. */
function multiply(a: number, b: number): number {
  let product = 0;
  let shifted = b;
  for (let rest = a; rest !== 0; rest <<= 1) {
    if (rest < 0) product ^= shifted;
    shifted = (shifted & 1) === 0 ? shifted >>> 1 : (shifted >>> 1) ^ POLYNOMIAL;
  }
  return product;
}

/** x^(8 * bytes) modulo the polynomial: what so many bytes behind them do to the crc of those before. */
export function shiftOf(bytes: number): number {
  let power = ONE;
  let square = ONE >>> 8;
  for (let rest = bytes; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) power = multiply(square, power);
    square = multiply(square, square);
  }
  return power;
}

/** crc32 of two parts in one; `shift`: shiftOf() the bytes of the second. */
export function combined(first: number, second: number, shift: number): number {
  return (multiply(shift, first) ^ second) >>> 0;
}
