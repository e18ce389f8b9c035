import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { Test } from "tap";
import { bigfsd } from "../../helpers/cluster.js";
import { packageRoot } from "../../helpers/package-root.js";
import type { Outcome } from "../../helpers/run.js";
import { KEY, Lab } from "../client/lab.js";

export const BIN = join(packageRoot, "dist/daemon/cli/bin.js");

/** A cluster, and how commands reach it. */
export interface Place {
  readonly lab: Lab;
  readonly dir: string;
  /** Runs a command on the cluster. */
  readonly run: typeof bigfsd;
  readonly args: readonly string[];
}

export async function place(t: Test): Promise<Place> {
  const lab = await Lab.start(t);
  const dir = await mkdtemp(join(tmpdir(), "bigfs-cli-"));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  const key = join(dir, "cluster.key");
  await writeFile(key, `${KEY.toString("hex")}\n`, { mode: 0o600 });
  const args = ["--meta", lab.meta.listen, "--key", key];
  return { lab, dir, args, run: (command) => bigfsd([...command, ...args]) };
}

/** Gives these lines to the prompt of `bigfsd shell`: many commands in one process. */
export async function shell({ args }: Place, lines: readonly string[]): Promise<Outcome> {
  const child = spawn(process.execPath, [BIN, "shell", ...args], { stdio: "pipe" });
  child.stdin.end(`${lines.join("\n")}\n`);
  const [stdout, stderr, ended] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
  return { code: ended[0] as number, stdout, stderr };
}
