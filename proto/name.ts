import { fail } from "./errno.js";

/** A file name: its bytes as a latin1 string (one character per byte), so that any byte survives and maps are cheap. */
export type Name = string & { readonly __name: unique symbol };

/** Longest name in bytes, as on Linux. */
export const NAME_MAX = 255;

/**
 * The name in these bytes, without a check: for bytes that this project wrote itself.
 */
export function nameOf(bytes: Uint8Array): Name {
  const buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return buffer.toString("latin1") as Name;
}

/** The name in these bytes; EINVAL for an empty one, "." and "..", `/` or NUL in it; ENAMETOOLONG above 255 bytes. */
export function checkedName(bytes: Uint8Array): Name {
  const name = nameOf(bytes);
  if (name.length > NAME_MAX) fail("ENAMETOOLONG", `a name has ${NAME_MAX} bytes at most`);
  if (name === "" || name === "." || name === ".." || name.includes("/") || name.includes("\0")) {
    fail("EINVAL", "a name is not empty, . or .., and has no / and no NUL in it");
  }
  return name;
}

/** The bytes of a name. */
export function nameBytes(name: Name): Buffer {
  return Buffer.from(name, "latin1");
}
