import { crc32 } from "node:zlib";
import { Registry } from "prom-client";
import { test, type Test } from "tap";
import { Rate } from "../../../daemon/common/rate.js";
import { OperationTimes } from "../../../daemon/common/metrics.js";
import type { LinkEvents } from "../../../daemon/common/rpc/link.js";
import { Layout } from "../../../daemon/common/chunks/layout.js";
import { Backups } from "../../../daemon/store/backups.js";
import { ChunkServer } from "../../../daemon/store/chunk-server.js";
import { Puts } from "../../../daemon/store/puts.js";
import type { Reply } from "../../../daemon/store/peers.js";
import { Reports } from "../../../daemon/store/reports.js";
import type { ChunkMessage } from "../../../proto/chunk-codec.js";
import { FsError } from "../../../proto/errno.js";
import type { ChunkRequest, PutChunk } from "../../../proto/gen/bigfs/v1/store.js";
import { FakeClock, settle } from "../../helpers/fake-clock.js";
import { chunkOf, dataOf, openStore, silent } from "./chunks.js";
import { MemoryDisk } from "./memory-disk.js";

const MiB = 1024 * 1024;

/** The server's end of a stream, with a client that reads and waits as the test wants. */
class FakeLink {
  readonly peer;
  readonly sent: Reply[] = [];
  isPaused = false;
  isClosed = false;
  /** Answers that the client has not taken yet are kept for good while this is false. */
  takes = true;
  #events: LinkEvents<ChunkMessage<ChunkRequest>> | undefined;
  #drained: (() => void)[] = [];
  #id = 0;

  constructor(role: string) {
    this.peer = { role, volume: "", incarnation: 0, protocol: 1, address: "test:1", clockMs: undefined };
  }

  open(events: LinkEvents<ChunkMessage<ChunkRequest>>): void {
    this.#events = events;
  }

  send(reply: Reply): void {
    this.sent.push(reply);
  }

  get congested(): boolean {
    return !this.takes && !this.isClosed && this.sent.reduce((sum, { payload }) => sum + payload.length, 0) > 4 * MiB;
  }

  drained(): Promise<void> {
    return this.congested ? new Promise((resolve) => this.#drained.push(resolve)) : Promise.resolve();
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
  }

  close(reason = new FsError("EIO")): void {
    this.isClosed = true;
    for (const resolve of this.#drained.splice(0)) resolve();
    this.#events?.closed(reason);
  }

  /** The client takes all that it was sent, and goes on to. */
  drain(): void {
    this.takes = true;
    for (const resolve of this.#drained.splice(0)) resolve();
  }

  ask(op: NonNullable<ChunkRequest["op"]>, payload: Buffer = Buffer.alloc(0)): number {
    this.#events?.message({ header: { id: ++this.#id, op }, payload });
    return this.#id;
  }

  put(chunk: number, len: number, opts: Partial<PutChunk> = {}): number {
    const data = dataOf(chunk, len);
    const value = {
      chunk,
      crc: crc32(data),
      forward: [],
      minCopies: 1,
      sync: false,
      copy: false,
      ...opts,
    };
    return this.ask({ $case: "put", value }, data);
  }
}

/** A server over a disk in memory. Peers answer when the test says so. */
async function lab(t: Test) {
  const disk = new MemoryDisk();
  const clock = new FakeClock();
  const store = await openStore(disk);
  const parts = { store, clock, log: silent, self: () => 1 };
  const reports = new Reports({ ...parts, report: () => Promise.resolve() });
  const copies: { resolve: (reply: Reply) => void; reject: (error: Error) => void }[] = [];
  const ask = () => new Promise<Reply>((resolve, reject) => copies.push({ resolve, reject }));
  const puts = new Puts({ ...parts, peers: { ask } }, { forwardMs: 1000 });
  const times = new OperationTimes({ clock, log: silent, registry: new Registry() }, "store");
  const [written, read] = [new Rate(clock), new Rate(clock)];
  const backups = new Backups({ disk, layout: new Layout("/data") });
  const node = { id: 1, data: "/data", uuid: "u", store, puts, reports, chunkSize: MiB, written, read, backups };
  const server = new ChunkServer({ nodes: () => [node], times, clock, log: silent }, { stuckMs: 5000 });
  const connect = (role = "mount"): FakeLink => {
    const link = new FakeLink(role);
    server.serve(link);
    return link;
  };
  t.teardown(() => {
    for (const { reject } of copies) reject(new FsError("EIO"));
  });
  return { disk, clock, store, server, connect, copies };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await settle();
}

test("when much has arrived and nothing can be stored, clients are not read from until there is room again", async (t) => {
  const { disk, connect } = await lab(t);
  let release = (): void => {};
  const blocked = new Promise<void>((resolve) => (release = resolve));
  const write = disk.write.bind(disk);
  disk.write = async (path, bytes) => {
    await blocked;
    return write(path, bytes);
  };
  const [a, b] = [connect(), connect()];
  let arrived = 0;
  while (!a.isPaused && arrived < 500) a.put(++arrived, MiB);
  t.ok(arrived < 40, `${arrived} MiB were taken`);
  t.ok(b.isPaused, "the bound is for all clients together");
  const late = connect();
  t.ok(late.isPaused);
  release();
  await until(() => a.sent.length === arrived);
  t.ok(a.sent.every(({ header }) => header.errno === ""));
  for (const link of [a, b, late]) t.notOk(link.isPaused);
});

test("copies from other nodes are read on while clients must wait: nodes cannot wait for each other in a circle", async (t) => {
  const { connect, copies } = await lab(t);
  const [client, node] = [connect(), connect("store")];
  const forward = [{ node: 2, address: "elsewhere:1" }];
  let arrived = 0;
  while (!client.isPaused && arrived < 500) client.put(++arrived, MiB, { forward, minCopies: 2 });
  t.ok(client.isPaused);
  await until(() => copies.length === arrived);
  t.notOk(node.isPaused);
  node.put(1000, MiB, { copy: true });
  await until(() => node.sent.length === 1);
  t.equal(node.sent[0]?.header.errno, "");
});

test("the bytes of a put are counted until its last copy is made, also when it was answered long before", async (t) => {
  const { connect, copies } = await lab(t);
  const client = connect();
  const forward = [{ node: 2, address: "slow:1" }];
  let arrived = 0;
  while (!client.isPaused && arrived < 500) {
    client.put(++arrived, MiB, { forward, minCopies: 1 });
    await until(() => client.sent.length === arrived);
  }
  t.ok(arrived < 40, `${arrived} MiB wait for a slow node`);
  const nothing = { process: undefined, folder: "", uuid: "" };
  const ok = {
    header: { id: 0, errno: "", detail: "", nodes: [], len: 0, crc: 0, ...nothing },
    payload: Buffer.alloc(0),
  };
  for (const { resolve } of copies.splice(0)) resolve(ok);
  await until(() => !client.isPaused);
});

test("a client that takes no answers costs little memory, does not hold up others, and is hung up on in the end", async (t) => {
  const { store, clock, connect } = await lab(t);
  for (let chunk = 1; chunk <= 40; chunk++) await store.put(chunkOf(chunk, MiB));
  const [stuck, other] = [connect(), connect()];
  stuck.takes = false;
  for (let chunk = 1; chunk <= 40; chunk++) stuck.ask({ $case: "get", value: { chunk, off: 0, len: MiB } });
  for (let chunk = 1; chunk <= 40; chunk++) other.ask({ $case: "get", value: { chunk, off: 0, len: MiB } });
  await until(() => other.sent.length === 40);
  await settle(50);
  t.ok(stuck.sent.length <= 16, `${stuck.sent.length} answers wait`);
  await clock.advance(4000);
  t.notOk(stuck.isClosed);
  await clock.advance(2000);
  t.ok(stuck.isClosed);
});

test("a client that was slow gets the rest of its answers when it takes some", async (t) => {
  const { store, connect } = await lab(t);
  for (let chunk = 1; chunk <= 30; chunk++) await store.put(chunkOf(chunk, MiB));
  const slow = connect();
  slow.takes = false;
  const ids = Array.from({ length: 30 }, (_, n) =>
    slow.ask({ $case: "get", value: { chunk: n + 1, off: 5, len: MiB } }),
  );
  await settle(50);
  slow.drain();
  await until(() => slow.sent.length === 30);
  t.same(
    slow.sent.map(({ header }) => header.id).sort((a, b) => a - b),
    ids,
  );
  for (const { header, payload } of slow.sent) t.ok(payload.equals(dataOf(header.id, MiB).subarray(5)));
});

test("a client that asks for ever more without taking answers is not read from, and the others are", async (t) => {
  const { store, connect } = await lab(t);
  await store.put(chunkOf(1, MiB / 16));
  const [greedy, other] = [connect(), connect()];
  greedy.takes = false;
  const get = { $case: "get" as const, value: { chunk: 1, off: 0, len: MiB } };
  let asked = 0;
  for (; !greedy.isPaused && asked < 100_000; asked++) greedy.ask(get);
  t.ok(asked < 5000, `${asked} requests were taken`);
  t.notOk(other.isPaused);
  other.ask(get);
  await until(() => other.sent.length === 1);
  greedy.close();
  await settle(200);
  t.ok(greedy.sent.length < 300, "nothing is read for who is gone");
});

test("what this build does not know is refused, and so is everything while it stops", async (t) => {
  const { server, connect } = await lab(t);
  const client = connect();
  client.ask(undefined as unknown as NonNullable<ChunkRequest["op"]>);
  await until(() => client.sent.length === 1);
  t.match(client.sent[0]?.header, { errno: "EOPNOTSUPP" });
  client.put(1, 10);
  await server.stop();
  t.match(client.sent[1]?.header, { errno: "" }, "what came before the stop is done");
  client.put(2, 10);
  await until(() => client.sent.length === 3);
  t.match(client.sent[2]?.header, { errno: "EIO" });
});
