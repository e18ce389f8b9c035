import { execFile } from "node:child_process";

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Record<string, string>;
  /** Milliseconds after which it is killed. */
  readonly timeout?: number;
}

/** Runs a program to its end; never rejects for its exit code (124: killed by the timeout). */
export function run(program: string, args: readonly string[], opts: RunOptions = {}): Promise<Outcome> {
  return new Promise((resolve) => {
    const env = { ...process.env, ...opts.env };
    const settings = { cwd: opts.cwd, env, timeout: opts.timeout ?? 300_000, maxBuffer: 64 * 1024 * 1024 };
    execFile(program, args, settings, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === "number" ? error.code : 124;
      resolve({ code, stdout, stderr });
    });
  });
}

/** Runs a program that must succeed; its standard output. */
export async function must(program: string, args: readonly string[], opts: RunOptions = {}): Promise<string> {
  const outcome = await run(program, args, opts);
  if (outcome.code === 0) return outcome.stdout;
  throw new Error(
    `${program} ${args.join(" ")}: exit ${outcome.code}\n${outcome.stdout}${outcome.stderr}`.slice(0, 4000),
  );
}

/** A shell line that must succeed. */
export function sh(line: string, opts: RunOptions = {}): Promise<string> {
  return must("bash", ["-euo", "pipefail", "-c", line], opts);
}

/** The Debian package of each program that tests run and that a build does not need. */
const PACKAGES = {
  fio: "fio",
  getfacl: "acl",
  getfattr: "attr",
  git: "git",
  rsync: "rsync",
  setfacl: "acl",
} as const;

/** Asserts that these programs are here: a test that cannot run has not passed. */
export async function needs(...programs: (keyof typeof PACKAGES)[]): Promise<void> {
  for (const program of programs) {
    if ((await run("which", [program])).code === 0) continue;
    throw new Error(`this test needs the program ${program}: apt-get install -y ${PACKAGES[program]}`);
  }
}
