import type { Argv } from "yargs";
import { withCluster } from "../shared-options.js";

/** Options of commands that ask a metadata daemon and show the answer. */
export function withJson<T>(yargs: Argv<T>) {
  return withCluster(yargs).option("json", { type: "boolean", default: false, describe: "for programs" });
}

/** Writes one JSON value. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}
