/** What yargs does not do by itself with the words of a command line. */
import type { Argv } from "yargs";
import { shapesOf } from "./config-file.js";
import { UsageError } from "./exit.js";

/** No word has it; a word that begins with it looks like no option. */
const MARK = "\0";

/** yargs gives what stands after "--" to no command: now it does. To be undone by `withWords`. */
export function markWords(args: readonly string[]): string[] {
  const end = args.indexOf("--");
  // The shell asks how unfinished words may go on.
  if (end < 0 || args[0] === "--get-yargs-completions") return [...args];
  return [...args.slice(0, end), ...args.slice(end + 1).map((word) => (word.startsWith("-") ? MARK + word : word))];
}

/** Undoes `markWords`; refuses an option that is given twice and takes one value, and a value that is empty. */
export function withWords<T>(cli: Argv<T>) {
  return cli
    .middleware((args: Record<string, unknown>) => {
      for (const [name, value] of Object.entries(args)) {
        if (typeof value === "string") args[name] = unmarked(value);
        else if (Array.isArray(value))
          args[name] = value.map((word: unknown) => (typeof word === "string" ? unmarked(word) : word));
      }
    }, true)
    .check((args: Record<string, unknown>) => {
      for (const { name, isArray } of shapesOf(cli)) {
        const value = args[name];
        if (Array.isArray(value) && !isArray) throw new UsageError(`${name} is given ${value.length} times: give one`);
        if (value === "") throw new UsageError(`${name} is empty: give a value`);
      }
      return true;
    });
}

function unmarked(word: string): string {
  return word.startsWith(MARK) ? word.slice(MARK.length) : word;
}
