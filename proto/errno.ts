/**
 * The one error currency of BigFS: an errno name that crosses the wire as text and reaches the kernel as a number.
 */

/** Linux errno numbers of the names that BigFS uses. */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  EFBIG: 27,
  ENOSPC: 28,
  EROFS: 30,
  EMLINK: 31,
  ERANGE: 34,
  ENAMETOOLONG: 36,
  ENOLCK: 37,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ELOOP: 40,
  ENODATA: 61,
  EPROTO: 71,
  EBADMSG: 74,
  EOVERFLOW: 75,
  EILSEQ: 84,
  EOPNOTSUPP: 95,
  EADDRNOTAVAIL: 99,
  ETIMEDOUT: 110,
  ECONNREFUSED: 111,
  ESTALE: 116,
} as const;

export type Errno = keyof typeof ERRNO;

/** These say that something is wrong; the others are answers like any (and noting where one came from takes longer than most answers). */
const WITH_STACK: ReadonlySet<Errno> = new Set(["EIO", "EPROTO", "EBADMSG", "EINVAL"]);

/** An error of the world (not of the program), told to whoever asked. `detail` is for people. */
export class FsError extends Error {
  override readonly name = "FsError";
  constructor(
    readonly errno: Errno,
    readonly detail = "",
    options?: { cause?: unknown },
  ) {
    const { stackTraceLimit } = Error;
    if (!WITH_STACK.has(errno)) Error.stackTraceLimit = 0;
    super(detail === "" ? errno : `${errno}: ${detail}`, options);
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/** For expressions: `tx.get(k) ?? fail("ENOENT")`. */
export function fail(errno: Errno, detail = ""): never {
  throw new FsError(errno, detail);
}

/** The name as it came over the wire; what this build does not know is `EIO`. */
export function errnoFromWire(name: string): Errno {
  return Object.hasOwn(ERRNO, name) ? (name as Errno) : "EIO";
}

/** Any thrown value as an errno: `FsError` its own, everything else `EIO`. */
export function errnoOf(error: unknown): Errno {
  return error instanceof FsError ? error.errno : "EIO";
}
