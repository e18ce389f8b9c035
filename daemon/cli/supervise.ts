import { spawn, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { loadAddon, type Addon } from "../../mount/kernel/addon.js";
import type { Estate } from "../../mount/estate.js";
import { findMount } from "../../mount/kernel/mountinfo.js";
import { detach, isRoot } from "../../mount/kernel/unmount.js";
import type { Clock } from "../common/clock.js";
import type { Deadlines } from "../common/deadlines.js";
import type { Logger } from "../common/log.js";
import { startTimeOf } from "../common/process.js";
import { EXIT } from "./exit.js";
import type { Left, Told } from "./keeper.js";
import { READY_ENV, READY_FD, SUPERVISED_ENV } from "./spawn.js";

/** Mount processes that died soon one after the other; beyond them the mount is given up. */
const DEATHS_MAX = 5;
/** As many as their handles and requests can be told apart. */
const PROCESSES_MAX = 8_000;
/** It is looked this often whether a process has died that cannot be reaped. */
const LOOK_MS = 1_000;

export interface SuperviseParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly deadlines: Pick<Deadlines, "restartMs" | "steadyMs">;
}

/**
 * Runs a mount process (`bigfsd ARGS`) and keeps a duplicate of its /dev/fuse, so that the mount outlives it: when it dies
 * while the mount is still there, another one takes over. SIGTERM and SIGINT are passed on to it. Resolves to the exit
 * code of the last one. Never touches the mount.
 */
export async function supervise(parts: SuperviseParts, args: readonly string[]): Promise<number> {
  const supervisor = new Supervisor(parts, args);
  const stop = (): void => supervisor.stop();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, stop);
  return supervisor.run();
}

class Supervisor {
  readonly #addon: Addon = loadAddon();
  readonly #locked = new Set<number>();
  /** Those of processes that have died, whose handles may still be there. */
  #lostLocks: ReadonlySet<number> = new Set();
  /** /dev/fuse; undefined: nothing is mounted that another process could take over. */
  #fd: number | undefined;
  #kernel: Estate["kernel"] | undefined;
  #session: Estate["session"] | undefined;
  #generation = 0;
  #child: ChildProcess | undefined;
  #isStopping = false;
  #wake: () => void = () => undefined;

  constructor(
    private readonly parts: SuperviseParts,
    private readonly args: readonly string[],
  ) {}

  stop(): void {
    this.#isStopping = true;
    this.#child?.kill("SIGTERM");
    this.#wake();
  }

  async run(): Promise<number> {
    const { clock, log, deadlines } = this.parts;
    for (let deaths = 1; ; deaths++) {
      const startMs = clock.monotonicMs();
      const end = await this.#serve();
      const { folder } = this.#kernel ?? {};
      if (folder === undefined || !(await this.#isThere(folder))) return end.code ?? EXIT.failed;
      if (clock.monotonicMs() - startMs >= deadlines.steadyMs) deaths = 1;
      const isOver = this.#isStopping || deaths > DEATHS_MAX || this.#generation >= PROCESSES_MAX;
      if (!isOver) {
        const pauseMs = deadlines.restartMs * 2 ** (deaths - 1);
        log.error({ mountpoint: folder, ...end, pauseMs }, "the mount process has died; another one takes over");
        await this.#pause(pauseMs);
      }
      if (this.#isStopping || isOver) return this.#giveUp(folder, deaths);
      this.#generation++;
      this.#lostLocks = new Set(this.#locked);
    }
  }

  /** Runs one process to its end. */
  async #serve(): Promise<{ code: number | undefined; signal: string | undefined }> {
    const pair = this.#addon.socketPair();
    if (typeof pair === "number") throw new Error(`no socket (errno ${-pair})`);
    const [mine, theirs] = pair;
    const child = this.#spawn(theirs);
    this.#addon.close(theirs);
    this.#child = child;
    child.on("message", (told: Told) => this.#learn(told, mine));
    // Whoever does not hear has died.
    if (child.connected) child.send(this.#left(), () => undefined);
    const end = await this.#ended(child);
    this.#child = undefined;
    child.removeAllListeners("message");
    this.#addon.close(mine);
    return end;
  }

  #spawn(socket: number): ChildProcess {
    const { [READY_ENV]: ready, ...env } = process.env;
    // Only the first one says that it has started.
    const isFirst = this.#fd === undefined;
    return spawn(process.execPath, [fileURLToPath(new URL("./bin.js", import.meta.url)), ...this.args], {
      // A signal to the process group of the supervisor shall not come twice.
      detached: true,
      stdio: [
        ...(["ignore", "inherit", "inherit"] as const),
        isFirst && ready !== undefined ? READY_FD : "ignore",
        "ipc",
        socket,
        ...(this.#fd === undefined ? [] : [this.#fd]),
      ],
      env: {
        ...env,
        ...(isFirst && ready !== undefined ? { [READY_ENV]: ready } : {}),
        [SUPERVISED_ENV]: "1",
      },
      cwd: "/",
    });
  }

  #left(): Left {
    if (this.#fd === undefined || this.#kernel === undefined || this.#session === undefined) return {};
    const locked = [...this.#locked];
    return { estate: { generation: this.#generation, kernel: this.#kernel, session: this.#session, locked } };
  }

  #learn(told: Told, socket: number): void {
    if ("session" in told) this.#session = told.session;
    else if ("kernel" in told) {
      const fd = this.#addon.receiveDescriptor(socket);
      if (fd < 0) this.parts.log.error({ errno: -fd }, "no descriptor came: this mount ends with its process");
      else [this.#fd, this.#kernel] = [fd, told.kernel];
    } else if (told.isLocked) this.#locked.add(told.locked);
    else if (!this.#lostLocks.has(told.locked)) this.#locked.delete(told.locked);
  }

  /**
   * Threads of a dead process may wait in the kernel for what only the next one will answer: until then it is not
   * reaped.
   */
  #ended(child: ChildProcess): Promise<{ code: number | undefined; signal: string | undefined }> {
    const { clock } = this.parts;
    return new Promise((resolve) => {
      let cancel = (): void => undefined;
      const done = (code?: number | null, signal?: string | null): void => {
        cancel();
        resolve({ code: code ?? undefined, signal: signal ?? undefined });
      };
      const look = (): void => {
        if (child.pid === undefined || startTimeOf(child.pid) === undefined) done();
        else cancel = clock.after(LOOK_MS, look);
      };
      child.once("exit", done);
      child.once("error", (error) => {
        this.parts.log.error({ err: error }, "the mount process cannot be started");
        done();
      });
      cancel = clock.after(LOOK_MS, look);
    });
  }

  async #isThere(folder: string): Promise<boolean> {
    return this.#fd !== undefined && (await findMount(folder))?.id === this.#kernel?.id;
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.parts.clock.after(ms, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }

  /** Takes the mount away, so that nobody waits for it for ever. */
  async #giveUp(folder: string, deaths: number): Promise<number> {
    const { log } = this.parts;
    if (this.#isStopping) log.warn({ mountpoint: folder }, "unmounting what a mount process left that had died");
    else log.fatal({ mountpoint: folder, deaths }, "the mount process dies again and again: unmounting");
    const failed = await detach(folder, { how: "force", privileged: isRoot() });
    if (failed !== undefined) log.error({ err: failed }, "it could not be unmounted");
    return EXIT.failed;
  }
}
