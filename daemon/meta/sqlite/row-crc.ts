import { crc32 } from "node:zlib";

/** The checksum that is stored with a row: of the key too, so that a value under another row's key is noticed. */
export function rowCrc(key: Uint8Array, value: Uint8Array): number {
  return crc32(value, crc32(key));
}
