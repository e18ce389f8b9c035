import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import yargs, { type Argv } from "yargs";
import * as meta from "../../../daemon/cli/commands/meta.js";
import * as mount from "../../../daemon/cli/commands/mount.js";
import * as store from "../../../daemon/cli/commands/store.js";
import { parseConfig, parseEnvironment, shapesOf, type OptionShape } from "../../../daemon/cli/config-file.js";
import { deadlinesWith } from "../../../daemon/cli/shared-options.js";
import { DEADLINES } from "../../../daemon/common/deadlines.js";
import { packageRoot } from "../../helpers/package-root.js";

const optionsOf = (builder: (yargs: Argv) => Argv<unknown>) =>
  shapesOf(builder(yargs([]))).filter(({ name }) => !["config", "print-config", "json"].includes(name));

const shapes: OptionShape[] = [
  { name: "listen", type: "string", isArray: false, choices: undefined, default: "127.0.0.1:1" },
  { name: "replicas", type: "number", isArray: false, choices: undefined, default: 2 },
  { name: "read-only", type: "boolean", isArray: false, choices: undefined, default: false },
  { name: "log-level", type: "string", isArray: false, choices: ["info", "warn"], default: "info" },
  { name: "deadline", type: "string", isArray: true, choices: undefined, default: [] },
];

const valuesOf = (text: string) =>
  Object.fromEntries([...parseConfig(text, "f.yaml", shapes)].map(([name, { value }]) => [name, value]));

for (const [role, builder] of Object.entries({ meta: meta.builder, store: store.builder, mount: mount.builder })) {
  test(`the sample for ${role} has every option with its default, and changes nothing as it is`, async (t) => {
    const file = join(packageRoot, `packaging/config/${role}.yaml`);
    const text = await readFile(file, "utf8");
    const options = optionsOf(builder);
    t.same([...parseConfig(text, file, options)], []);
    const given = parseConfig(text.replace(/^#(?=[a-z]| {2}- )/gm, ""), file, options);
    t.same([...given.keys()].sort(), options.map((option) => option.name).sort());
    for (const option of options) {
      if (option.default === undefined || option.isArray) continue;
      t.equal(given.get(option.name)?.value, option.default, option.name);
    }
    const changes = given.get("deadline")?.value as string[];
    t.same(deadlinesWith(changes), DEADLINES);
    t.same(
      changes.map((change) => change.split("=")[0]),
      Object.keys(DEADLINES),
    );
  });
}

test("a file has options as NAME: VALUE, and says where each stands", async (t) => {
  t.same(valuesOf("deadline: a=1\n"), { deadline: ["a=1"] }, "a list of one");
  t.same(valuesOf(""), {});
  t.same(valuesOf("# only words\n"), {});
  const text = "listen: 10.0.0.1:50052\nreplicas: 3\nread-only: true\nlog-level: warn\ndeadline: [a=1, b=2]\n";
  t.same(valuesOf(text), {
    ...{ listen: "10.0.0.1:50052", replicas: 3, "read-only": true, "log-level": "warn" },
    deadline: ["a=1", "b=2"],
  });
  t.equal(parseConfig("\nreplicas: 3\n", "f.yaml", shapes).get("replicas")?.where, "f.yaml:2");
});

test("a number where a text is meant is taken as it is written", async (t) => {
  t.same(valuesOf("listen: 09100"), { listen: "09100" });
  t.same(valuesOf("listen: 1e3"), { listen: "1e3" });
});

test("every problem of a file is told, with its line and what is allowed", async (t) => {
  const refused = (text: string, message: string | RegExp) => t.throws(() => valuesOf(text), { message });
  refused(
    "listen: [x]\nreplica: 3\nreplicas: three\nread-only: yes\nlog-level: all\ndeadline: { a: 1 }\n",
    [
      "f.yaml:1: listen: give a text",
      "f.yaml:2: there is no option 'replica' here; there are deadline, listen, log-level, read-only, replicas",
      "f.yaml:3: replicas: give a number",
      "f.yaml:4: read-only: give true or false",
      "f.yaml:5: log-level: give one of info, warn",
      "f.yaml:6: deadline: give a list of texts, each on a line that begins with '- '",
    ].join("\n"),
  );
  refused("replicas:\n", "f.yaml:1: replicas: give a number");
  refused("replicas: '3'\n", "f.yaml:1: replicas: give a number");
  refused("listen: true\n", "f.yaml:1: listen: give a text");
  refused("listen: ''\n", "f.yaml:1: listen: give a text");
  refused("deadline: [a=1, [b]]\n", /f.yaml:1: deadline: give a list/);
  refused("listen: a\nlisten: b\n", /^f.yaml:2: .*unique/);
  refused("listen: 'a\n", /^f.yaml:\d: /);
  refused("- listen\n", "f.yaml:1: give options as NAME: VALUE, one a line");
  refused("listen: &x a\nlog-level: *x\n", /f.yaml:2: log-level/);
  refused("listen: !!js/function x\n", /^f.yaml:1: /);
  refused(`#${"x".repeat(70_000)}`, /longer than/);
});

test("the environment has options as BIGFS_NAME", async (t) => {
  const parse = (env: Record<string, string>) =>
    Object.fromEntries([...parseEnvironment(env, shapes)].map(([name, { value }]) => [name, value]));
  const env = { BIGFS_LISTEN: "a:1", BIGFS_REPLICAS: "3", BIGFS_READ_ONLY: "true", BIGFS_DEADLINE: "a=1,b=2" };
  t.same(parse({ ...env, BIGFS_READY: "1", BIGFS_LOG_LEVEL: "" }), {
    ...{ listen: "a:1", replicas: 3, "read-only": true, deadline: ["a=1", "b=2"] },
  });
  t.throws(() => parse({ BIGFS_REPLICAS: "3x" }), { message: "BIGFS_REPLICAS=3x: give a number" });
  t.throws(() => parse({ BIGFS_READ_ONLY: "yes" }), { message: "BIGFS_READ_ONLY=yes: give true or false" });
  t.throws(() => parse({ BIGFS_LOG_LEVEL: "all" }), { message: "BIGFS_LOG_LEVEL=all: give one of info, warn" });
});
