import { spawn, type ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";

/** What a line of Python came to: its value, or the name of its errno. */
export type Outcome = { readonly value: unknown } | { readonly errno: string };

const LOOP = `
import errno, fcntl, json, mmap, os, sys
for line in sys.stdin:
    try:
        try:
            value = eval(line, globals())
        except SyntaxError:
            value = exec(line, globals())
        said = {"value": value if isinstance(value, (int, str, list, type(None))) else str(value)}
    except OSError as error:
        said = {"errno": errno.errorcode[error.errno]}
    except Exception as error:
        said = {"errno": repr(error)}
    print(json.dumps(said), flush=True)
`;

/** A program that has files open: a Python that does line after line what it is told. */
export class Agent {
  readonly #child: ChildProcess;
  readonly #waiting: ((outcome: Outcome) => void)[] = [];

  constructor(t: { teardown(fn: () => void): void }) {
    const child = spawn("python3", ["-c", LOOP], { stdio: ["pipe", "pipe", "inherit"] });
    this.#child = child;
    if (child.stdout === null) throw new Error("no output");
    createInterface(child.stdout).on("line", (line) => this.#waiting.shift()?.(JSON.parse(line) as Outcome));
    t.teardown(() => void child.kill("SIGKILL"));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Runs an expression or a statement; `os`, `fcntl`, `mmap` and what was assigned before are there. */
  ask(line: string): Promise<Outcome> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#child.stdin?.write(`${line}\n`);
    });
  }
}
