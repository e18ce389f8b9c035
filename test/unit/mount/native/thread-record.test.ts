import { test } from "tap";
import type { FuseNative, Signal } from "../../../../mount/native/binding.js";
import { withMtime } from "../../../../mount/native/thread-record.js";

/** A package that passes atime twice, with mtime at this place of its record. */
function packageWith(atimeAt: number, mtimeAt: number) {
  const record = Buffer.alloc(200);
  record.writeBigUInt64LE(1000n, atimeAt);
  record.writeBigUInt64LE(2000n, mtimeAt);
  const given: unknown[][] = [];
  const fuse = {
    _op_utimens: (_signal: Signal, ...args: unknown[]) => given.push(args),
    _handlers: [(_: Buffer, __: number, ...args: unknown[]) => fuse._op_utimens(signal, ...args)],
  };
  const answers: number[] = [];
  const signal: Signal = (result) => answers.push(result);
  withMtime(fuse as unknown as FuseNative);
  fuse._handlers[0]?.(record, 12, "/f", 1000, 0, 1000, 0);
  return { given, answers };
}

test("mtime comes from the thread's record", (t) => {
  t.same(packageWith(104, 112), { given: [["/f", 1000, 0, 2000, 0]], answers: [] });
  t.end();
});

test("where the record is another one, setting times is refused instead of done wrongly", (t) => {
  t.same(packageWith(52, 56 + 8), { given: [], answers: [-95] });
  t.end();
});
