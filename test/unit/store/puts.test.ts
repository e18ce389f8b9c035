import { crc32 } from "node:zlib";
import { test, type Test } from "tap";
import { thisProcess } from "../../../daemon/common/process.js";
import { SharedMemory } from "../../../daemon/common/shared-memory.js";
import { Puts } from "../../../daemon/store/puts.js";
import type { Reply } from "../../../daemon/store/peers.js";
import { FsError, type Errno } from "../../../proto/errno.js";
import type { PutChunk, Shared } from "../../../proto/gen/bigfs/v1/store.js";
import { dataOf, openStore } from "./chunks.js";
import { MemoryDisk } from "./memory-disk.js";

const LEN = 1000;

/** Node 1, whose client shares its memory; node 2 refuses shared copies with the errnos of `refusals`, one each. */
async function lab(t: Test, refusals: Errno[]) {
  const memory = SharedMemory.open(LEN);
  t.teardown(() => memory.close());
  const sent: { readonly shared: Shared | undefined; readonly bytes: number }[] = [];
  const ask = (_: unknown, op: { $case: string; value: unknown }, payload: Buffer): Promise<Reply> => {
    const { shared } = op.value as PutChunk;
    sent.push({ shared, bytes: payload.length });
    const errno = shared === undefined ? undefined : refusals.shift();
    if (errno !== undefined) return Promise.reject(new FsError(errno));
    const header = { id: 1, errno: "", detail: "", nodes: [2], len: 0, crc: 0, process: undefined, folder: "" };
    return Promise.resolve({ header, payload: Buffer.alloc(0) });
  };
  const store = await openStore(new MemoryDisk());
  const puts = new Puts({ store, peers: { ask }, self: () => 1 }, { forwardMs: 1000 });
  const put = (chunk: number, from = thisProcess()) => {
    const data = dataOf(chunk, LEN);
    const shared = { ...memory.lend(data)!.shared, process: from };
    const forward = [{ node: 2, address: "b:1" }];
    const request = { chunk, crc: crc32(data), forward, minCopies: 2, sync: false, copy: false, shared };
    return puts.primary(request, data, () => undefined);
  };
  const kinds = () => sent.splice(0).map(({ shared, bytes }) => (shared === undefined ? bytes : "shared"));
  return { put, kinds };
}

test("the other nodes are told where the chunk is, not sent it", async (t) => {
  const { put, kinds } = await lab(t, []);
  t.match(await put(1), { others: [2] });
  t.same(kinds(), ["shared"]);
});

test("a node that cannot read it there is sent it, from then on at once", async (t) => {
  const { put, kinds } = await lab(t, ["EFAULT"]);
  t.match(await put(1), { others: [2] });
  t.match(await put(2), { others: [2] });
  t.same(kinds(), ["shared", LEN, LEN]);
  await put(3, { pid: 1, started: "1@here" });
  t.same(kinds(), ["shared"], "it may well read another client's");
});

test("a node that comes too late, when something else is there, is sent it; later chunks are read there again", async (t) => {
  const { put, kinds } = await lab(t, ["EBADMSG"]);
  t.match(await put(1), { others: [2] });
  t.match(await put(2), { others: [2] });
  t.same(kinds(), ["shared", LEN, "shared"]);
});

test("any other refusal of a copy is one", async (t) => {
  const { put, kinds } = await lab(t, ["ENOSPC"]);
  await t.rejects(put(1), { name: "FsError", errno: "ENOSPC" });
  t.same(kinds(), ["shared"]);
});
