import type { Name } from "../../../proto/name.js";
import { OUT_HEADER, Output } from "./output.js";

const CODE = { invalidateInode: 2, invalidateEntry: 3, resend: 7, incrementEpoch: 8 } as const;
const EXPIRE_ONLY = 1;

/** First minor version with FUSE_NOTIFY_INC_EPOCH (Linux 6.16). */
export const EPOCH_MINOR = 44;

/** A message that answers nothing: its unique is 0 and its error field the code. */
function notification(code: number, size: number, write: (out: Output) => void): Buffer {
  const out = new Output(OUT_HEADER + size);
  write(out);
  return out.finish({ low: 0, high: 0 }, -code, 0).bytes;
}

/** The attributes of an inode; with a range its pages too (len 0: to the end). */
export function invalidateInode(ino: number, range: { off: number; len: number } | undefined): Buffer {
  const { off, len } = range ?? { off: -1, len: 0 };
  return notification(CODE.invalidateInode, 24, (out) => out.u64(ino).i64(off).i64(len));
}

/**
 * One name. `expire`: it is looked up again before it is used again, but stays in its place until then, so that who
 * stands in a folder of that name does not find himself nowhere.
 */
export function invalidateEntry(dir: number, name: Name, expire: boolean): Buffer {
  return notification(CODE.invalidateEntry, 16 + name.length + 1, (out) =>
    out
      .u64(dir)
      .u32(name.length)
      .u32(expire ? EXPIRE_ONLY : 0)
      .latin1(name)
      .zeros(1),
  );
}

/** What was read and not answered is asked again. */
export function resend(): Buffer {
  return notification(CODE.resend, 0, () => undefined);
}

/** Every name is looked up again. */
export function incrementEpoch(): Buffer {
  return notification(CODE.incrementEpoch, 0, () => undefined);
}
