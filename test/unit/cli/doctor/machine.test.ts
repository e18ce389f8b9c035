import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { NODE_MIN, isAtLeast, judgeMachine, type MachineFacts } from "../../../../daemon/cli/doctor/machine.js";
import { packageRoot } from "../../../helpers/package-root.js";

const GOOD: MachineFacts = {
  node: "22.1.0",
  platform: "linux",
  kernel: "6.18.2-amd64",
  isRoot: false,
  fuseError: undefined,
  bindingError: undefined,
  fusermount: "fusermount3 version: 3.14.0",
  fuseConf: "# words\nuser_allow_other\n",
  openFiles: 65_536,
  memory: { totalBytes: 2 ** 33, availableBytes: 2 ** 32 },
};

/** What is not ok on a machine that is like the good one but for these facts. */
const found = (facts: Partial<MachineFacts>) =>
  judgeMachine({ ...GOOD, ...facts }).filter(({ level }) => level !== "ok");

test("a good machine has nothing to fix", async (t) => {
  t.same(found({}), []);
  t.equal(judgeMachine(GOOD).length, 8);
});

test("versions are compared as numbers", async (t) => {
  t.ok(isAtLeast("6.16.0-1", "6.16"));
  t.ok(isAtLeast("10.0", "6.16"));
  t.ok(isAtLeast("6.100", "6.16"));
  t.notOk(isAtLeast("6.9.3", "6.16"));
  t.notOk(isAtLeast("5.20", "6.16"));
});

test("what Node.js must be is what the package says", async (t) => {
  const { engines } = JSON.parse(await readFile(join(packageRoot, "package.json"), "utf8")) as {
    engines: { node: string };
  };
  t.equal(engines.node, `>=${NODE_MIN}`);
});

test("each thing that a mount needs and that is not there is an error with its fix", async (t) => {
  t.match(found({ node: "20.9.0" }), [{ level: "error", check: "node-version", fix: /nodejs.org/ }]);
  t.match(found({ kernel: "4.19.0-27" }), [{ level: "error", check: "kernel" }]);
  t.match(found({ platform: "darwin" }), [{ level: "error", check: "kernel", what: /darwin/ }]);
  t.match(found({ fuseError: "ENOENT" }), [{ level: "error", check: "fuse-device", fix: /^modprobe fuse/ }]);
  t.match(found({ fuseError: "EACCES" }), [{ level: "error", check: "fuse-device", fix: /^chmod 0666/ }]);
  t.match(found({ bindingError: "not built" }), [{ level: "error", what: "not built", fix: "scripts/build" }]);
  t.match(found({ fusermount: undefined }), [{ level: "error", check: "fusermount3", fix: /fuse3$/ }]);
});

test("what works with limits is a note or a warning", async (t) => {
  t.match(found({ kernel: "6.1.0" }), [{ level: "note", check: "kernel" }]);
  t.match(found({ openFiles: 1024 }), [{ level: "warning", check: "open-files", fix: /^ulimit -n/ }]);
  t.match(found({ openFiles: undefined }), [{ level: "note", check: "open-files" }]);
  t.same(found({ openFiles: Infinity }), []);
  const memory = { totalBytes: 2 ** 30, availableBytes: 2 ** 28 };
  t.match(found({ memory }), [{ level: "warning", check: "memory", what: /^256 MiB of 1 GiB/, fix: /--cache/ }]);
});

test("other users are let in by a line of its own in fuse.conf, or by root", async (t) => {
  for (const fuseConf of [undefined, "", "#user_allow_other", "# user_allow_other - words"]) {
    t.match(found({ fuseConf }), [{ level: "note", check: "user-allow-other", fix: /fuse.conf/ }]);
    t.same(found({ fuseConf, isRoot: true }), []);
  }
  t.match(found({ fusermount: undefined, isRoot: true }), [{ level: "note", check: "fusermount3" }]);
});
