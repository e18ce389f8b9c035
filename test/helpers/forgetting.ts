/**
 * Looks a million inodes up and has them forgotten, in two halves, over the kernel protocol and the client, and prints what that
 * has left. A process of its own: the hooks of a test runner would be most of the work.
 */
import { pino } from "pino";
import { Registry } from "prom-client";
import { DEADLINES } from "../../daemon/common/deadlines.js";
import { OPCODE } from "../../mount/kernel/codec/opcodes.js";
import type { CallOptions, MetaClient, OpArgs, OpName } from "../../mount/vfs/ports.js";
import { Vfs } from "../../mount/vfs/vfs.js";
import { FsError } from "../../proto/errno.js";
import { Attr, EntryReply, type Cred } from "../../proto/gen/bigfs/v1/meta.js";
import { FakeClock } from "./fake-clock.js";
import { collectGarbage } from "./garbage.js";
import { KernelBench } from "./kernel-bench.js";

const HALF = 500_000;
/** Known to the kernel at once. */
const AT_ONCE = 20_000;
/** Asked for at once. */
const UNANSWERED = 100;
const IDLE_MAX = 20_000;
const FIRST_INO = 2 ** 41;

/** What is left of the second half. */
export interface Left {
  readonly growthBytes: number;
  /** That the kernel is thought to know. */
  readonly known: number;
  /** Inodes of both halves that were given back to the metadata daemon. */
  readonly givenBack: number;
}

/** A metadata daemon with a file of every number, of which a session may cache what it is told. */
class EndlessFolder implements MetaClient {
  readonly volume = { volume: "endless", chunkSize: 1 << 20, replicas: 1, minReplicas: 1 };
  readonly map = { version: 1, nodes: [] };
  readonly isReady = true;
  givenBack = 0;

  leaseLeftMs(): number {
    return 10_000;
  }

  now(): { sec: number; nsec: number } {
    return { sec: 1, nsec: 0 };
  }

  call<C extends OpName>(op: C, args: OpArgs<C>, _who: Cred, opts?: CallOptions<C>): Promise<never> {
    if (op !== "lookup") return Promise.reject(new FsError("ENOSYS", op));
    const ino = FIRST_INO + Number((args as OpArgs<"lookup">).name.toString());
    const attr = Attr.create({ ino, mode: 0o100644, nlink: 1, version: 1 });
    const reply = EntryReply.create({ attr, cached: true, entryCached: true }) as never;
    opts?.take?.(reply);
    return Promise.resolve(reply);
  }

  tell<C extends "close" | "forget" | "locks">(op: C, args: OpArgs<C>): void {
    if (op === "forget") this.givenBack += (args as OpArgs<"forget">).inos.length;
  }

  durable(): Promise<void> {
    return Promise.resolve();
  }

  listen(): void {}

  stop(): Promise<void> {
    return Promise.resolve();
  }
}

async function lookUp(bench: KernelBench, from: number): Promise<bigint[]> {
  for (let n = from; n < from + AT_ONCE; n++) {
    bench.send(OPCODE.lookup, 1n, Buffer.from(`${n}\0`));
    if (n % UNANSWERED === UNANSWERED - 1) await bench.pending.idle();
  }
  const found = bench.answers.splice(0).filter(({ error, body }) => error === 0 && body.length === 128);
  if (found.length !== AT_ONCE) throw new Error(`${found.length} of ${AT_ONCE} names were found`);
  return found.map(({ body }) => body.readBigUInt64LE(0));
}

function forget(bench: KernelBench, inos: readonly bigint[]): void {
  const batch = Buffer.alloc(8 + 16 * inos.length);
  batch.writeUInt32LE(inos.length, 0);
  inos.forEach((ino, i) => {
    batch.writeBigUInt64LE(ino, 8 + i * 16);
    batch.writeBigUInt64LE(1n, 16 + i * 16);
  });
  bench.send(OPCODE.batchForget, 0n, batch);
}

async function run(): Promise<Left> {
  const meta = new EndlessFolder();
  const nothing = () => Promise.reject(new FsError("EIO"));
  const chunks = { put: nothing, get: nothing, stop: () => Promise.resolve() };
  const registry = new Registry();
  const parts = { meta, chunks, clock: new FakeClock(), log: pino({ level: "silent" }), registry };
  const sizes = { cacheBytes: 1 << 20, idleInodes: IDLE_MAX, dirtyBytes: 1 << 20 };
  const vfs = new Vfs(parts, { ...sizes, readOnly: false, permissions: "kernel", deadlines: DEADLINES });
  const bench = new KernelBench(vfs);
  bench.answers.length = 0;
  const used: number[] = [];
  for (const from of [0, HALF]) {
    for (let n = 0; n < HALF; n += AT_ONCE) forget(bench, await lookUp(bench, from + n));
    used.push(collectGarbage());
  }
  const inodes = await registry.getSingleMetricAsString("bigfs_mount_inodes");
  const known = Number(/^bigfs_mount_inodes (\d+)$/m.exec(inodes)?.[1] ?? NaN);
  return { growthBytes: (used[1] ?? NaN) - (used[0] ?? NaN), known, givenBack: meta.givenBack };
}

console.log(JSON.stringify(await run()));
