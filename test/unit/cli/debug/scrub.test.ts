import { test } from "tap";
import { scrubLog } from "../../../../daemon/cli/debug/scrub.js";

const scrub = (record: object) => JSON.parse(scrubLog(JSON.stringify(record))) as unknown;

test("of a record only what holds no names of files stays", async (t) => {
  const record = {
    ...{ level: 50, time: "2026-01-01T00:00:00.000Z", pid: 1, name: "meta", msg: "a rule broke" },
    ...{ node: 3, isNew: true, errno: "EIO", peer: "10.0.0.1:5" },
  };
  t.same(scrub(record), record);
  t.same(scrub({ msg: "m", input: { name: "secret" }, names: ["secret"], dir: { a: "secret" }, path: "/secret" }), {
    ...{ msg: "m", input: "(left out)", names: "(left out)", dir: "(left out)", path: "(left out)" },
  });
});

test("an error keeps its kind and its stack, and what it says when it is about our own files and ports", async (t) => {
  const stack = "TypeError: bad /secret\nsecret\n    at f (file:///x.js:1:2)\n    at g (file:///y.js:3:4)";
  t.same(scrub({ err: { type: "TypeError", message: "bad /secret", stack, names: "secret" } }), {
    err: {
      type: "TypeError",
      message: "(left out)",
      stack: "    at f (file:///x.js:1:2)\n    at g (file:///y.js:3:4)",
    },
  });
  t.match(scrub({ err: { type: "StartupError", message: "the port is taken" } }), {
    err: { message: /port is taken/ },
  });
  const system = { type: "Error", message: "ENOSPC: no space left", code: "ENOSPC", errno: -28, syscall: "write" };
  t.match(scrub({ err: system }), { err: system });
  t.same(scrub({ err: "secret" }), { err: "(left out)" });
});

test("of what is no record only the lines of a stack stay", async (t) => {
  const text = 'Error: /secret\n    at f (x.js:1:2)\nsecret\n"secret"\n["secret"]\n{"half\n';
  t.equal(scrubLog(text), "(left out)\n    at f (x.js:1:2)\n(left out)\n(left out)\n(left out)\n(left out)\n");
});
