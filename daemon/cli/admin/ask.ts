import type { AdminReply, AdminRequest, FileExplained, StatusReply } from "../../../proto/gen/bigfs/v1/meta.js";
import { FsError, errnoFromWire } from "../../../proto/errno.js";
import { systemClock } from "../../common/clock.js";
import { DEADLINES } from "../../common/deadlines.js";
import { dial } from "../../common/rpc/client.js";
import { ADMIN } from "../../common/rpc/kinds.js";
import type { Link } from "../../common/rpc/link.js";
import { noMeta } from "../../common/rpc/no-meta.js";
import type { ClusterAddress } from "../shared-options.js";

/** Parts of a long answer that may wait here. */
const PARTS_AHEAD = 8;

/** The state of the cluster, asked once. */
export function fetchStatus(address: ClusterAddress): Promise<StatusReply> {
  return ask(address, { $case: "status", value: {} });
}

/** Where all bytes of a file are. */
export async function explainFile(address: ClusterAddress, ino: number): Promise<FileExplained> {
  const first = await ask(address, { $case: "explain", value: { ino, first: 0 } });
  const chunks = new Map(first.chunks.map((chunk) => [chunk.id, chunk]));
  const slots = [...first.slots];
  for (let next = first.next; next > 0;) {
    const more = await ask(address, { $case: "explain", value: { ino, first: next } });
    slots.push(...more.slots);
    for (const chunk of more.chunks) chunks.set(chunk.id, chunk);
    next = more.next;
  }
  return { attr: first.attr, slots, chunks: [...chunks.values()], next: 0 };
}

type Ops<T extends { op?: { $case: string; value: unknown } | undefined }> = NonNullable<T["op"]>;
type Answer<C> = Extract<Ops<AdminReply>, { $case: C }>["value"];

/** Asks once, over a stream of its own. StartupError: the daemon cannot be reached, or has another key. */
export async function ask<O extends Ops<AdminRequest>>(
  address: ClusterAddress,
  op: O,
  { timeoutMs = DEADLINES.chunkMs }: { readonly timeoutMs?: number } = {},
): Promise<Answer<O["$case"]>> {
  const reply = await exchange(address, op, timeoutMs);
  if (reply.op?.$case !== op.$case) throw new FsError("EPROTO", `${address.meta} answered something else`);
  return reply.op.value as Answer<O["$case"]>;
}

/** The parts of a long answer, as fast as they are taken. Errors as of `ask`. */
export async function* askForParts(address: ClusterAddress, op: Ops<AdminRequest>): AsyncGenerator<Ops<AdminReply>> {
  const link = await connect(address);
  const arrived: AdminReply[] = [];
  let failure: FsError | undefined;
  let wake = () => {};
  link.open({
    message: (reply) => {
      arrived.push(reply);
      if (arrived.length >= PARTS_AHEAD) link.pause();
      wake();
    },
    closed: (reason) => {
      failure = reason;
      wake();
    },
  });
  link.send({ id: 1, op });
  try {
    for (;;) {
      const reply = arrived.shift();
      if (reply === undefined && failure !== undefined) throw failure;
      if (reply === undefined) {
        link.resume();
        await soon((resolve) => (wake = resolve), address.meta);
        continue;
      }
      if (reply.errno !== "") throw new FsError(errnoFromWire(reply.errno), reply.detail);
      if (reply.op === undefined) throw new FsError("EPROTO", `${address.meta} answered nothing`);
      yield reply.op;
    }
  } finally {
    link.close();
  }
}

/** Resolves when it is told to; rejects ETIMEDOUT when that takes too long. */
async function soon(told: (resolve: () => void) => void, from: string): Promise<void> {
  let cancel = () => {};
  await new Promise<void>((resolve, reject) => {
    told(resolve);
    const late = () => reject(new FsError("ETIMEDOUT", `nothing more came from ${from}`));
    cancel = systemClock.after(DEADLINES.ioDeadlineMs, late);
  }).finally(() => cancel());
}

async function exchange(address: ClusterAddress, op: Ops<AdminRequest>, timeoutMs: number): Promise<AdminReply> {
  const link = await connect(address);
  let cancel = () => {};
  try {
    const reply = await new Promise<AdminReply>((resolve, reject) => {
      cancel = systemClock.after(timeoutMs, () => reject(new FsError("ETIMEDOUT", `no answer from ${address.meta}`)));
      link.open({ message: resolve, closed: reject });
      link.send({ id: 1, op });
    });
    if (reply.errno !== "") throw new FsError(errnoFromWire(reply.errno), reply.detail);
    return reply;
  } finally {
    cancel();
    link.close();
  }
}

async function connect({ meta, key }: ClusterAddress): Promise<Link<AdminRequest, AdminReply>> {
  try {
    return await dial(ADMIN, meta, { key, role: "admin", connectMs: DEADLINES.connectMs, clock: systemClock });
  } catch (error) {
    throw error instanceof FsError ? noMeta(meta, error) : error;
  }
}
