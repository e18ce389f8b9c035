import { pino } from "pino";
import { systemClock } from "../../daemon/common/clock.js";
import { KernelNotifier } from "../../mount/kernel/cache.js";
import { OPCODE } from "../../mount/kernel/codec/opcodes.js";
import { PendingRequests } from "../../mount/kernel/pending.js";
import { Session } from "../../mount/kernel/session.js";
import type { FileSystem } from "../../mount/vfs/filesystem.js";

/** Requests that have no answer. */
export const NO_ANSWER: readonly number[] = [OPCODE.forget, OPCODE.batchForget, OPCODE.interrupt];

export interface Answer {
  readonly unique: bigint;
  readonly error: number;
  readonly body: Buffer;
}

/** A session over a kernel that is a list of answers. */
export class KernelBench {
  readonly answers: Answer[] = [];
  readonly pending = new PendingRequests();
  readonly session: Session;
  /** What the kernel says to an answer. */
  result = 0;
  #unique = 0n;

  constructor(fs: FileSystem, asked: { minor?: number; flags?: number } = {}) {
    const write = (head: Buffer, length: number, body: Buffer) => {
      const whole = Buffer.concat([head.subarray(0, length), body]);
      if (whole.readUInt32LE(0) !== whole.length) throw new Error("the length is not the length");
      const [error, unique] = [-whole.readInt32LE(4), whole.readBigUInt64LE(8)];
      if (error !== 0 && whole.length !== 16) throw new Error("an error with a body");
      this.answers.push({ unique, error, body: Buffer.from(whole.subarray(16)) });
      return this.result < 0 ? this.result : whole.length;
    };
    const parts = { notifications: { notify: () => Promise.resolve(0), notifyNow: () => 0 }, pending: this.pending };
    this.session = new Session(
      {
        fs,
        clock: systemClock,
        log: pino({ level: "silent" }),
        pending: this.pending,
        device: { read: () => -11, write },
        cache: (agreed) => new KernelNotifier(parts, agreed),
      },
      { poison: true },
    );
    const init = Buffer.alloc(64);
    [7, asked.minor ?? 45, 131072, asked.flags ?? 0xffff_ffff, 0xff].forEach((v, i) => init.writeUInt32LE(v, i * 4));
    this.send(OPCODE.init, 0n, init);
  }

  send(opcode: number, node: bigint, body: Buffer): bigint {
    this.#unique += 2n;
    const head = Buffer.alloc(40);
    head.writeUInt32LE(40 + body.length, 0);
    head.writeUInt32LE(opcode, 4);
    head.writeBigUInt64LE(this.#unique, 8);
    head.writeBigUInt64LE(node, 16);
    this.session.receive(Buffer.concat([head, body]));
    return this.#unique;
  }

  /** As `send`, of bytes that need not be a request at all. */
  sendRaw(message: Buffer): void {
    this.session.receive(message);
  }

  interrupt(unique: bigint): void {
    const body = Buffer.alloc(8);
    body.writeBigUInt64LE(unique);
    this.send(OPCODE.interrupt, 0n, body);
  }

  answersTo(unique: bigint): Answer[] {
    return this.answers.filter((answer) => answer.unique === unique);
  }
}
