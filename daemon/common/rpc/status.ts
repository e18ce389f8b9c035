import { status } from "@grpc/grpc-js";
import { FsError, type Errno } from "../../../proto/errno.js";

/** gRPC status is for the transport only; what it means to us, and the other way round. */
const MEANING: ReadonlyMap<number, Errno> = new Map([
  [status.PERMISSION_DENIED, "EACCES"],
  [status.UNAUTHENTICATED, "EACCES"],
  [status.FAILED_PRECONDITION, "EPROTO"],
  [status.INVALID_ARGUMENT, "EPROTO"],
  [status.UNIMPLEMENTED, "EPROTO"],
  [status.RESOURCE_EXHAUSTED, "EPROTO"],
  [status.DEADLINE_EXCEEDED, "ETIMEDOUT"],
]);

/** Why a stream ended, from what grpc-js says. */
export function fromStatus(error: { code?: number | string; details?: string; message?: string }, at: string): FsError {
  const errno = (typeof error.code === "number" ? MEANING.get(error.code) : undefined) ?? "EIO";
  // What grpc-js says around the error of the connection helps nobody.
  const details = (error.details ?? error.message ?? "").replace(
    /^.* Last error: (?:Error: )?(.*)\. Resolution.*$/,
    "$1",
  );
  if (error.code === status.UNIMPLEMENTED) {
    return new FsError("EPROTO", `${at} is another kind of daemon, or another version: ${details}`, { cause: error });
  }
  if (error.code === status.UNAVAILABLE) {
    return new FsError("ECONNREFUSED", `${at} cannot be reached: ${plain(details)}`, { cause: error });
  }
  return new FsError(errno, `${at}: ${details}`, { cause: error });
}

/** "connect ECONNREFUSED 127.0.0.1:1", of what grpc-js writes around it. */
function plain(details: string): string {
  return details
    .replace(/^No connection established\. Last error: (Error: )?/, "")
    .replace(/\.? Resolution note: ?$/, "");
}

/** The status that tells the other side why it is refused. */
export function toStatus(error: FsError): { code: status; details: string } {
  const code: Partial<Record<Errno, status>> = {
    EACCES: status.PERMISSION_DENIED,
    EPROTO: status.FAILED_PRECONDITION,
    ETIMEDOUT: status.DEADLINE_EXCEEDED,
  };
  return { code: code[error.errno] ?? status.ABORTED, details: error.detail === "" ? error.errno : error.detail };
}
