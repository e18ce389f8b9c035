import { test } from "tap";
import { typed, unfinished, wordsOf } from "../../../daemon/cli/files/words.js";

test("a line is words between blanks, which quotes and a backslash keep together", async (t) => {
  t.same(wordsOf("  put  a b\t"), ["put", "a", "b"]);
  t.same(wordsOf(`ls 'a b' "c ' d" e\\ f\\' g''h ''`), ["ls", "a b", "c ' d", "e f'", "gh", ""]);
  t.same(wordsOf("ls \\n\\xff a\\\\b"), ["ls", "\\n\\xff", "a\\\\b"], "escapes of names stay");
  t.same(wordsOf(""), []);
  t.throws(() => wordsOf("ls 'a"), { name: "RangeError", message: "a ' has no end" });
});

test("what is typed for a word is read as that word", async (t) => {
  for (const word of ["plain", "two words", `it's "so"`, "\\n\\\\", " "]) {
    t.same(wordsOf(`x ${typed(word)}`), ["x", word], word);
  }
});

test("the word before the cursor is told from those before it", async (t) => {
  t.same(unfinished("ls /a b"), { before: ["ls", "/a"], last: "b" });
  t.same(unfinished("ls /a "), { before: ["ls", "/a"], last: "" });
  t.same(unfinished("ls 'two wo"), { before: ["ls"], last: "two wo" });
  t.same(unfinished(""), { before: [], last: "" });
});
