import { test } from "tap";
import type { Given, OptionShape, Value } from "../../../daemon/cli/config-file.js";
import { parseConfig } from "../../../daemon/cli/config-file.js";
import { renderSettings, settle } from "../../../daemon/cli/settings.js";

const text = { type: "string", isArray: false, choices: undefined, default: undefined } as const;
const shapes: OptionShape[] = [
  { ...text, name: "data" },
  { ...text, name: "meta" },
  { ...text, name: "cache", default: "48MiB" },
  { ...text, name: "deadline", isArray: true, default: [] },
];

const layer = (where: string, values: Record<string, Value>) =>
  new Map(Object.entries(values).map(([name, value]): [string, Given] => [name, { value, where }]));

const settings = (flags: Record<string, Value>, env: Record<string, Value>, file: Record<string, Value>) =>
  settle(shapes, [layer("flag", flags), layer("env", env), layer("file", file)], { data: ["meta"] });

test("flags win over the environment, that over the file, that over the default", async (t) => {
  const of = (...layers: Parameters<typeof settings>) => settings(...layers).get("cache")?.all;
  t.same(of({ cache: "1" }, { cache: "2" }, { cache: "3" }), [{ value: "1", from: "flag" }]);
  t.same(of({}, { cache: "2" }, { cache: "3" }), [{ value: "2", from: "env" }]);
  t.same(of({}, {}, { cache: "3" }), [{ value: "3", from: "file" }]);
  t.same(of({}, {}, {}), [{ value: "48MiB", from: "default" }]);
});

test("lists are joined, and the stronger comes last", async (t) => {
  t.same(settings({ deadline: ["a=3"] }, {}, { deadline: ["a=1", "b=2"] }).get("deadline")?.all, [
    { value: "a=1", from: "file" },
    { value: "b=2", from: "file" },
    { value: "a=3", from: "flag" },
  ]);
});

test("an option that makes another pointless hides it where that is weaker", async (t) => {
  const meta = (...layers: Parameters<typeof settings>) => settings(...layers).get("meta")?.all[0]?.value;
  t.equal(meta({ data: "d" }, { meta: "e" }, { meta: "f" }), undefined);
  t.equal(meta({ data: "d", meta: "x" }, {}, {}), "x");
  t.equal(meta({}, { meta: "e" }, { data: "d" }), "e");
  t.equal(meta({}, { data: "d" }, { meta: "f" }), undefined);
});

test("what is printed is a configuration file that gives the same", async (t) => {
  const given = { data: "/a: b#c", cache: "007", deadline: ["a=1", "b=2"] };
  const printed = renderSettings(settings(given, {}, {}));
  const again = Object.fromEntries([...parseConfig(printed, "f", shapes)].map(([name, { value }]) => [name, value]));
  t.same(again, given);
  t.match(printed, /^cache: .*007.* # flag$/m);
  t.match(printed, /^# meta: not set$/m);
  const lines = renderSettings(settings({ data: 'a: #b\n"c' }, {}, {}));
  t.equal(parseConfig(lines, "f", shapes).get("data")?.value, 'a: #b\n"c');
});
