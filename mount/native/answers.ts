import type { Logger } from "pino";
import type { Clock } from "../../daemon/common/clock.js";
import { ERRNO, errnoOf, FsError, type Errno } from "../../proto/errno.js";
import type { Maybe } from "../vfs/filesystem.js";
import type { OnOperation } from "../kernel/session.js";
import type { Signal } from "./binding.js";

/** Nothing: success. A number: bytes. An array: success, with these values for the addon. */
export type Answer = undefined | void | number | readonly unknown[];

/** One kind of question, with the addon's arguments. */
export interface Operation {
  /** As it is counted. */
  readonly name: string;
  run(...args: never[]): Maybe<Answer>;
  /** What comes with the answer whether or not it is an error: the buffers that the addon takes back. */
  always?(...args: never[]): readonly unknown[];
}

/** Gives each question exactly one answer, whatever throws: without, its program would hang for ever. */
export class Answers {
  readonly #idlers: (() => void)[] = [];
  #open = 0;
  #isEnded = false;

  constructor(
    private readonly parts: {
      readonly clock: Clock;
      readonly log: Logger;
      readonly onOperation?: OnOperation | undefined;
    },
  ) {}

  ask(operation: Operation, signal: Signal, args: unknown[]): void {
    const { clock, log } = this.parts;
    const startMs = clock.monotonicMs();
    const always = operation.always?.(...(args as never[])) ?? [];
    let isOpen = true;
    this.#open++;
    const answer = (result: number, values: readonly unknown[], errno: Errno | undefined) => {
      if (!isOpen) return;
      isOpen = false;
      signal(result, ...values, ...always);
      this.#close(operation, startMs, errno);
    };
    const succeed = (value: Answer) =>
      typeof value === "number" ? answer(value, [], undefined) : answer(0, value ?? [], undefined);
    const refuse = (error: unknown) => {
      if (!(error instanceof FsError))
        log.error({ err: error, operation: operation.name }, "operation failed by a bug");
      const errno = errnoOf(error);
      answer(-ERRNO[errno], [], errno);
    };
    try {
      if (this.#isEnded) throw new FsError("ENODEV");
      const value = operation.run(...(args as never[]));
      if (value instanceof Promise) value.then(succeed).catch(refuse);
      else succeed(value);
    } catch (error) {
      refuse(error);
    }
  }

  /** Resolves when nobody waits. */
  idle(): Promise<void> {
    if (this.#open === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idlers.push(resolve));
  }

  /** What comes from now on is refused. */
  end(): void {
    this.#isEnded = true;
  }

  #close({ name }: Operation, startMs: number, errno: Errno | undefined): void {
    const { clock, log, onOperation } = this.parts;
    this.#open--;
    if (this.#open === 0) for (const wake of this.#idlers.splice(0)) wake();
    try {
      onOperation?.(name, (clock.monotonicMs() - startMs) / 1000, errno);
    } catch (error) {
      log.error({ err: error, operation: name }, "an answer was not counted");
    }
  }
}
