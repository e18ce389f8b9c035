import fc from "fast-check";
import { test } from "tap";
import { asideName, parseAsideName } from "../../../../daemon/common/chunks/aside-name.js";

test("what is known of a file in quarantine comes back from its name, whatever it is", (t) => {
  const about = fc.record({
    name: fc.stringMatching(/^[a-z0-9.]{1,40}$/),
    nonce: fc.stringMatching(/^[0-9a-f]{8}$/),
    since: fc.nat(),
    reason: fc.string({ unit: "grapheme", maxLength: 15 }),
  });
  fc.assert(
    fc.property(about, (one) => {
      const name = asideName(one);
      t.notMatch(name, /[/\0\n]/);
      return JSON.stringify(parseAsideName(name)) === JSON.stringify(one);
    }),
  );
  t.end();
});

test("a long name or reason is cut, so that the file can be moved at all", (t) => {
  const long = { name: "é".repeat(120), nonce: "0123abcd", since: 1, reason: "ü/".repeat(200) };
  const name = asideName(long);
  t.ok(Buffer.byteLength(name) <= 255, `${Buffer.byteLength(name)} bytes`);
  t.match(parseAsideName(name), { since: 1, reason: /^(ü\/)+/ });
  t.end();
});

test("a name of an older build says nothing of why and when; another is none", (t) => {
  const chunk = "0000000000000005.chunk";
  t.same(parseAsideName(`${chunk}.0123abcd`), { name: chunk, nonce: "0123abcd", since: undefined, reason: undefined });
  t.equal(parseAsideName("notes.txt"), undefined);
  t.end();
});
