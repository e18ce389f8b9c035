import { test } from "tap";
import { nameProblem, zoneProblem } from "../../../daemon/common/labels.js";

test("names and zones are one visible word, and a name is no number", async (t) => {
  for (const word of ["rack1", "host-7.example.net", '"', "ü", "x".repeat(255), "127.0.0.1:50051"]) {
    t.equal(zoneProblem(word), undefined, word);
    t.equal(nameProblem(word), undefined, word);
  }
  for (const word of ["", " ", "a b", "a\nb", "a\x1bb", "\u202ea", "x".repeat(256)]) {
    t.match(zoneProblem(word), /1 to 255 characters/, word);
    t.match(nameProblem(word), /1 to 255 characters/, word);
  }
  t.equal(zoneProblem("7"), undefined);
  t.match(nameProblem("7"), /id of a node/);
});
