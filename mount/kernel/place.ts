import { realpath, statfs } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import type { Clock } from "../../daemon/common/clock.js";
import { findMount } from "./mountinfo.js";

/** A mount that says nothing for so long is taken for hung. */
const ANSWER_MS = 5_000;

/** The errno name of a failed system call. */
export function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}

/**
 * The path without links, as /proc shows it. What is mounted there may be dead or hung, so only the way there is
 * followed when the folder itself does not answer.
 */
export async function canonicalPath(path: string): Promise<string> {
  const whole = resolve(path);
  const viaParent = async () => join(await realpath(dirname(whole)), basename(whole));
  if (whole === "/") return whole;
  const direct = await viaParent();
  if ((await findMount(direct)) !== undefined) return direct;
  return realpath(whole).catch((error: unknown) => {
    if (codeOf(error) === "ENOTCONN") return direct;
    throw error;
  });
}

export type Liveness = "alive" | "dead" | "silent";

/** Whether anybody answers for a mounted folder. (Attributes might be the kernel's, of a process that is dead by now.) */
export async function liveness(path: string, clock: Clock): Promise<Liveness> {
  const answer = statfs(path).then(
    (): Liveness => "alive",
    (error: unknown): Liveness => (codeOf(error) === "ENOTCONN" ? "dead" : "alive"),
  );
  return new Promise((resolve) => {
    const cancel = clock.after(ANSWER_MS, () => resolve("silent"));
    void answer.then(resolve).finally(cancel);
  });
}
