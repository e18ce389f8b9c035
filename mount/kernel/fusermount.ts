import { execFile, spawn } from "node:child_process";
import { promisify } from "node:util";

export interface Outcome {
  readonly ok: boolean;
  /** What it said. */
  readonly message: string;
}

/** Runs fusermount3, the system's set-user-id helper. `commFd`: where it sends the descriptor of /dev/fuse. */
export function runFusermount(args: readonly string[], commFd?: number): Promise<Outcome> {
  return runHelper("fusermount3", args, commFd);
}

/** What mount(8) prints. */
export async function runMount(): Promise<string> {
  return (await promisify(execFile)("mount", { env: { ...process.env, LC_ALL: "C" } })).stdout;
}

/** Runs umount(8), for root. */
export function runUmount(args: readonly string[]): Promise<Outcome> {
  return runHelper("umount", args);
}

function runHelper(program: string, args: readonly string[], commFd?: number): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      stdio: ["ignore", "ignore", "pipe", commFd ?? "ignore"],
      env: { ...process.env, LC_ALL: "C", ...(commFd === undefined ? {} : { _FUSE_COMMFD: "3" }) },
    });
    const said: Buffer[] = [];
    child.stderr?.on("data", (piece: Buffer) => said.push(piece));
    child.on("error", (error) => resolve({ ok: false, message: `${program} cannot be run: ${error.message}` }));
    child.on("close", (code) => resolve({ ok: code === 0, message: Buffer.concat(said).toString().trim() }));
  });
}
