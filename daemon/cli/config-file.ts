import { LineCounter, isMap, isScalar, isSeq, parseDocument, type Node } from "yaml";
import type { Argv } from "yargs";
import { UsageError } from "./exit.js";

/** How a command declares one of its options. */
export interface OptionShape {
  readonly name: string;
  readonly type: "string" | "number" | "boolean";
  /** A list of texts, given by repeating the option. */
  readonly isArray: boolean;
  /** The only values that it takes; undefined: any. */
  readonly choices: readonly string[] | undefined;
  readonly default: Value | undefined;
}

export type Value = string | number | boolean | readonly string[];

/** A value and where it was given: FILE:LINE, or the name of a variable. */
export interface Given {
  readonly value: Value;
  readonly where: string;
}

/** Longest configuration file, in characters. */
export const FILE_MAX = 65_536;

/** What yargs has of the options declared so far; it tells them, but its types do not. */
interface Declared {
  readonly key: Readonly<Record<string, unknown>>;
  readonly number: readonly string[];
  readonly boolean: readonly string[];
  readonly array: readonly string[];
  readonly choices: Readonly<Record<string, readonly string[]>>;
  readonly default: Readonly<Record<string, Value | undefined>>;
}

/** The options that this command has declared: the schema of its configuration file. */
export function shapesOf(yargs: Argv<unknown>): OptionShape[] {
  const declared = (yargs as unknown as { getOptions(): Declared }).getOptions();
  return Object.keys(declared.key)
    .filter((name) => name !== "help" && name !== "version")
    .map((name) => ({
      name,
      type: declared.number.includes(name) ? "number" : declared.boolean.includes(name) ? "boolean" : "string",
      isArray: declared.array.includes(name),
      choices: declared.choices[name],
      default: declared.default[name],
    }));
}

/**
 * The options in the text of a configuration file: YAML, one `NAME: VALUE` for each option, named as on the command
 * line. UsageError with every problem, each with its line.
 */
export function parseConfig(text: string, file: string, shapes: readonly OptionShape[]): Map<string, Given> {
  if (text.length > FILE_MAX) throw new UsageError(`${file}: longer than ${FILE_MAX} characters`);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, stringKeys: true });
  const at = (offset: number) => `${file}:${lines.linePos(offset).line}`;
  const problems = [...document.errors, ...document.warnings].map((error) => `${at(error.pos[0])}: ${error.message}`);
  const given = new Map<string, Given>();
  const root = document.contents;
  if (problems.length === 0 && root !== null) {
    if (!isMap(root)) throw new UsageError(`${at(root.range[0])}: give options as NAME: VALUE, one a line`);
    for (const { key, value } of root.items) {
      const where = at((key as Node).range?.[0] ?? 0);
      const name = isScalar(key) ? String(key.value) : "";
      const shape = shapes.find((s) => s.name === name);
      const taken = shape === undefined ? undefined : valueOf(shape, value);
      if (taken !== undefined) given.set(name, { value: taken, where });
      else problems.push(`${where}: ${shape === undefined ? unknownOption(name, shapes) : `${name}: ${wish(shape)}`}`);
    }
  }
  if (problems.length > 0) throw new UsageError(problems.join("\n"));
  return given;
}

function unknownOption(name: string, shapes: readonly OptionShape[]): string {
  const names = shapes.map((s) => s.name).sort();
  return `there is no option '${name}' here; there are ${names.join(", ")}`;
}

/** The options in the environment: BIGFS_LOG_LEVEL for log-level, lists with commas; empty counts as not set. */
export function parseEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  shapes: readonly OptionShape[],
): Map<string, Given> {
  const given = new Map<string, Given>();
  for (const shape of shapes) {
    const where = variableOf(shape.name);
    const text = env[where] ?? "";
    if (text === "") continue;
    const value = valueOfText(shape, text);
    if (value === undefined) throw new UsageError(`${where}=${text}: ${wish(shape)}`);
    given.set(shape.name, { value, where });
  }
  return given;
}

export function variableOf(option: string): string {
  return `BIGFS_${option.toUpperCase().replaceAll("-", "_")}`;
}

/** undefined: that is no value of this option. */
function valueOf(shape: OptionShape, node: Node | null): Value | undefined {
  if (!shape.isArray) return scalarOf(shape, node);
  const items = isSeq<Node>(node) ? node.items : [node];
  const texts = items.map((item) => scalarOf(shape, item));
  return texts.every((text) => typeof text === "string") ? texts : undefined;
}

function scalarOf({ type, choices }: OptionShape, node: Node | null): string | number | boolean | undefined {
  if (!isScalar(node)) return undefined;
  const { value, source } = node;
  if (type !== "string") return typeof value === type ? (value as number | boolean) : undefined;
  // A size or a port may well look like a number.
  const text = typeof value === "number" ? source : value;
  if (typeof text !== "string" || text === "") return undefined;
  return choices === undefined || choices.includes(text) ? text : undefined;
}

function valueOfText({ type, isArray, choices }: OptionShape, text: string): Value | undefined {
  if (type === "number") return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : undefined;
  if (type === "boolean") return text === "true" ? true : text === "false" ? false : undefined;
  if (isArray) return text.split(",");
  return choices === undefined || choices.includes(text) ? text : undefined;
}

function wish({ type, isArray, choices }: OptionShape): string {
  if (isArray) return "give a list of texts, each on a line that begins with '- '";
  if (choices !== undefined) return `give one of ${choices.join(", ")}`;
  return { string: "give a text", number: "give a number", boolean: "give true or false" }[type];
}
