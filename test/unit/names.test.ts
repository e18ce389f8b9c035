import { test } from "tap";
import { refusal } from "../helpers/refusal.js";
import { checkedName, nameBytes, nameOf } from "../../proto/name.js";

test("a name keeps every byte from 1 to 255", (t) => {
  const bytes = Buffer.from(Array.from({ length: 255 }, (_, i) => i + 1).filter((b) => b !== 0x2f));
  t.same(nameBytes(nameOf(bytes)), bytes);
  t.end();
});

test("a name of 255 bytes is allowed, 256 is ENAMETOOLONG", (t) => {
  t.equal(checkedName(Buffer.alloc(255, 0xff)).length, 255);
  t.throws(() => checkedName(Buffer.alloc(256, 0x61)), refusal("ENAMETOOLONG"));
  t.end();
});

test("empty names, dots, slashes and NUL are EINVAL", (t) => {
  for (const bad of ["", ".", "..", "a/b", "a\0b"])
    t.throws(() => checkedName(Buffer.from(bad)), refusal("EINVAL"), JSON.stringify(bad));
  t.end();
});
