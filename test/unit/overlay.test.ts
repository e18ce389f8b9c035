import fc from "fast-check";
import { test } from "tap";
import { overlay } from "../../daemon/common/overlay.js";
import type { Slice } from "../../proto/gen/bigfs/v1/rows.js";

const SPAN = 40;

const sliceArb = fc
  .record({ pos: fc.nat(SPAN - 1), len: fc.integer({ min: 1, max: SPAN }), kind: fc.nat(2), off: fc.nat(5) })
  .map(({ pos, len, kind, off }): Slice => {
    const fit = Math.min(len, SPAN - pos);
    if (kind === 0) return { pos, len: fit, chunk: 0, off: 0, inline: Buffer.alloc(0) };
    if (kind === 1) return { pos, len: fit, chunk: 0, off: 0, inline: Buffer.alloc(fit, 7) };
    return { pos, len: fit, chunk: 9, off, inline: Buffer.alloc(0) };
  });

/** Byte by byte: which slice (undefined: none or zeros) and which byte of it. */
function naive(slices: readonly Slice[], pos: number, len: number): [Slice | undefined, number][] {
  return Array.from({ length: len }, (_, i) => {
    const at = pos + i;
    const top = slices.findLast((s) => s.pos <= at && at < s.pos + s.len);
    return top === undefined || (top.chunk === 0 && top.inline.length === 0) ? [undefined, 0] : [top, at - top.pos];
  });
}

test("overlay gives every byte the source that the last slice over it names", (t) => {
  fc.assert(
    fc.property(fc.array(sliceArb, { maxLength: 12 }), fc.nat(SPAN), fc.nat(SPAN), (slices, pos, len) => {
      const extents = overlay(slices, pos, len);
      const bytes = extents.flatMap((e) =>
        Array.from({ length: e.len }, (_, i) => [e.slice, e.slice === undefined ? 0 : e.skip + i]),
      );
      t.same(bytes, naive(slices, pos, len));
      let at = pos;
      for (const extent of extents) {
        if (extent.pos !== at || extent.len <= 0) t.fail("extents leave a gap, overlap or are empty");
        at += extent.len;
      }
    }),
  );
  t.end();
});
