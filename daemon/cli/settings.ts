import { createReadStream } from "node:fs";
import { text as textOf } from "node:stream/consumers";
import { stringify } from "yaml";
import type { Argv } from "yargs";
import {
  FILE_MAX,
  parseConfig,
  parseEnvironment,
  shapesOf,
  variableOf,
  type Given,
  type OptionShape,
  type Value,
} from "./config-file.js";
import { EXIT, OptionError, UsageError } from "./exit.js";

/** A value in effect, and where it is from: "flag", BIGFS_NAME, FILE:LINE or "default". */
export interface Setting {
  readonly value: Value;
  readonly from: string;
}

interface OptionSettings {
  readonly isArray: boolean;
  /** At most one; of a list, one for each of its texts. */
  readonly all: readonly Setting[];
}

/** The options of a command by name. */
export type Settings = ReadonlyMap<string, OptionSettings>;

/** Options that other options make pointless: with `data` given, a `meta` from a weaker source does not count. */
export type Hides = Readonly<Record<string, readonly string[]>>;

/** Where the settings travel with the arguments, unseen by yargs. */
const SETTINGS = Symbol("settings");
interface Settled {
  [SETTINGS]?: Settings | Error;
}

function settingsOf(args: Settled): Settings {
  const settings = args[SETTINGS] ?? new Map<string, OptionSettings>();
  if (settings instanceof Error) throw settings;
  return settings;
}

/**
 * Lets the options declared so far come from a file (--config) and from the environment too: flags win over the
 * environment, that over the file. To be called last in a builder.
 */
export function withConfig<T>(yargs: Argv<T>, opts: { readonly hides?: Hides } = {}) {
  const shapes = shapesOf(yargs);
  const configured = yargs
    .option("config", { type: "string", describe: "file with options as NAME: VALUE lines (YAML) [env BIGFS_CONFIG]" })
    .option("print-config", {
      type: "boolean",
      default: false,
      describe: "print the options in effect as such a file, and where each is from",
    });
  return configured.middleware(async (args: Record<string, unknown>) => {
    const { defaulted = {} } = (configured.parsed || {}) as { defaulted?: Record<string, boolean> };
    const flags = new Map<string, Given>();
    for (const { name } of shapes) {
      if (args[name] !== undefined && defaulted[name] !== true)
        flags.set(name, { value: args[name] as Value, where: "flag" });
    }
    try {
      const environment = parseEnvironment(process.env, shapes);
      const file = (args["config"] as string | undefined) ?? process.env[variableOf("config")] ?? "";
      const fromFile = file === "" ? new Map<string, Given>() : parseConfig(await readText(file), file, shapes);
      const settings = settle(shapes, [flags, environment, fromFile], opts.hides ?? {});
      for (const [name, setting] of settings) Object.assign(args, argumentsOf(name, setting));
      (args as Settled)[SETTINGS] = settings;
    } catch (error) {
      // Here yargs would let it pass as a crash; the handler tells it.
      (args as Settled)[SETTINGS] = error as Error;
    }
  }, true);
}

async function readText(file: string): Promise<string> {
  try {
    // Of a device there may be no end.
    return await textOf(createReadStream(file, { end: 4 * FILE_MAX }));
  } catch (error) {
    throw new UsageError(`--config ${file}: ${(error as Error).message}; packaging/config has samples`);
  }
}

/** What is in effect. `layers`: the strongest first. Lists are joined, the strongest last, where it has the last word. */
export function settle(
  shapes: readonly OptionShape[],
  layers: readonly ReadonlyMap<string, Given>[],
  hides: Hides,
): Settings {
  const settings = new Map<string, OptionSettings>();
  for (const { name, isArray, default: preset } of shapes) {
    const hiders = Object.keys(hides).filter((other) => hides[other]?.includes(name));
    const until = Math.min(...hiders.map((other) => layerOf(other, layers)));
    const found = layers.flatMap((layer, i) => (i <= until ? (layer.get(name) ?? []) : []));
    if (isArray) {
      const texts = ({ value, where }: Given) =>
        (value as readonly string[]).map((text) => ({ value: text, from: where }));
      settings.set(name, { isArray, all: found.reverse().flatMap(texts) });
    } else {
      const value = found[0]?.value ?? preset;
      const all = value === undefined ? [] : [{ value, from: found[0]?.where ?? "default" }];
      settings.set(name, { isArray, all });
    }
  }
  return settings;
}

/** The strongest layer that has the option. */
function layerOf(name: string, layers: readonly ReadonlyMap<string, Given>[]): number {
  const index = layers.findIndex((layer) => layer.has(name));
  return index < 0 ? Infinity : index;
}

/** As yargs gives it to a handler: under both spellings. */
function argumentsOf(name: string, { isArray, all }: OptionSettings): Record<string, unknown> {
  const value = isArray ? all.map((s) => s.value) : all[0]?.value;
  const camel = name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
  return { [name]: value, [camel]: value };
}

/** Turns arguments into what a daemon takes; of a value that is refused it tells the file and line, or the variable. */
export function located<A extends object, R>(args: A, options: (args: A) => R): R {
  const settings = settingsOf(args);
  try {
    return options(args);
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    const all = settings.get(error.option)?.all ?? [];
    const from = (all.find((s) => s.value === error.value) ?? all[0])?.from ?? "flag";
    if (from === "flag" || from === "default") throw error;
    throw new UsageError(`${from}: ${error.option}: ${error.value}: ${error.why}`);
  }
}

/** Checks the options and prints them as a configuration file. */
export function printConfig<A extends object>(args: A, options: (args: A) => unknown): number {
  located(args, options);
  process.stdout.write(renderSettings(settingsOf(args)));
  return EXIT.done;
}

/** On one line, for its source stands behind it. */
function scalar(value: Value): string {
  const isLong = typeof value === "string" && value.includes("\n");
  return isLong ? JSON.stringify(value) : stringify(value, { lineWidth: 0 }).trimEnd();
}

export function renderSettings(settings: Settings): string {
  const line = (start: string, { value, from }: Setting) => `${start} ${scalar(value)} # ${from}\n`;
  let text = "# flags win over environment over file\n";
  for (const [name, { isArray, all }] of settings) {
    const [first] = all;
    if (first === undefined) text += `# ${name}: not set\n`;
    else if (isArray) text += `${name}:\n${all.map((setting) => line("  -", setting)).join("")}`;
    else text += line(`${name}:`, first);
  }
  return text;
}
