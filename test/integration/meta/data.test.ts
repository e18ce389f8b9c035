import { test, type Test } from "tap";
import type { Link } from "../../../daemon/common/rpc/link.js";
import { Commit } from "../../../proto/gen/bigfs/v1/meta.js";
import type { NodeFrame, NodeReply, StoredChunk } from "../../../proto/gen/bigfs/v1/node.js";
import { answeringStore } from "../../helpers/answering-store.js";
import { FakeClock } from "../../helpers/fake-clock.js";
import { KEY, MetaHarness, resultOf, stateOf, type RawClient } from "../../helpers/meta-harness.js";

type NodeOp = NonNullable<NodeFrame["op"]>;

/** A storage daemon that says what the test wants. */
class Node {
  id = 0;
  /** Chunks that it was asked to fsync. */
  readonly asked: number[] = [];
  #wake = (): void => {};
  #requests = 0;
  readonly #answers = new Map<number, (reply: NodeReply) => void>();

  constructor(
    private readonly link: Link<NodeFrame, NodeReply>,
    readonly name: string,
  ) {
    link.open({
      message: (reply) => {
        if (reply.op?.$case === "sync") this.asked.push(...reply.op.value.chunks);
        this.#answers.get(reply.id)?.(reply);
        this.#wake();
      },
      closed: () => undefined,
    });
  }

  static async join(t: Test, harness: MetaHarness, name: string): Promise<Node> {
    const node = new Node(await harness.node(), name);
    t.teardown(() => node.link.close());
    const address = await answeringStore(t, { uuid: name, key: KEY });
    const about = { uuid: name, name, zone: name, address, volume: "", node: 0 };
    const reply = await node.ask({ $case: "join", value: { ...about, capacity: 2 ** 40, used: 0 } });
    if (reply.op?.$case !== "joined") throw new Error(reply.errno);
    node.id = reply.op.value.node;
    await node.ask({ $case: "inventory", value: { chunks: [], last: true } });
    return node;
  }

  async untilAsked(): Promise<void> {
    while (this.asked.length === 0) await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  ask(op: NodeOp): Promise<NodeReply> {
    const id = ++this.#requests;
    const answer = new Promise<NodeReply>((resolve) => this.#answers.set(id, resolve));
    this.link.send({ id, op });
    return answer;
  }
}

function stored(chunk: number, nodes: number[], pending: number[]): StoredChunk {
  return { chunk, len: 100, crc: 1, nodes, synced: [], pending };
}

function commit(client: RawClient, ino: number, chunk: number): number {
  const slice = { pos: 0, len: 100, chunk, off: 0, inline: Buffer.alloc(0) };
  return client.send({
    $case: "commit",
    value: Commit.create({ ino, slices: [{ slot: 0, slice }], sizeAtLeast: 100 }),
  });
}

test("a commit waits until its chunk stands on M nodes, and fsync until it is on their disks", async (t) => {
  const harness = await MetaHarness.start(t);
  const [a, b] = [await Node.join(t, harness, "a"), await Node.join(t, harness, "b")];
  const client = await harness.client();
  const ino = await client.create(1, "f");
  const { first: chunk, map } = await client.call("alloc", { count: 1 });
  t.equal(map?.nodes.length, 2);
  await a.ask({ $case: "register", value: { chunks: [stored(chunk, [a.id], [b.id])] } });
  const id = commit(client, ino, chunk);
  t.equal(await stateOf(client.answer(id)), "waiting");
  await b.ask({ $case: "confirm", value: { chunks: [stored(chunk, [b.id], [])] } });
  const committed = resultOf("commit", await client.answer(id));
  t.equal(committed.attr?.size, 100);
  t.same(
    committed.chunks.map((place) => [...place.nodes].sort((x, y) => x - y)),
    [[a.id, b.id]],
  );
  const synced = client.ask("fsync", { ino });
  t.equal(await stateOf(synced), "waiting");
  for (const node of [a, b]) {
    await node.untilAsked();
    t.same(node.asked, [chunk]);
    await node.ask({ $case: "synced", value: { chunks: [chunk] } });
  }
  t.equal((await synced).errno, "");
});

test("the commit before an fsync tells whether that would wait for a disk", async (t) => {
  const harness = await MetaHarness.start(t);
  const [a, b] = [await Node.join(t, harness, "a"), await Node.join(t, harness, "b")];
  const client = await harness.client();
  const ino = await client.create(1, "f");
  const inline = { pos: 0, len: 4, chunk: 0, off: 0, inline: Buffer.from("data") };
  const tiny = Commit.create({ ino, slices: [{ slot: 0, slice: inline }] });
  t.equal((await client.call("commit", { ...tiny, sync: false })).synced, false, "nobody asked");
  t.equal((await client.call("commit", { ...tiny, sync: true })).synced, true);
  const { first: chunk } = await client.call("alloc", { count: 1 });
  await a.ask({ $case: "register", value: { chunks: [stored(chunk, [a.id, b.id], [])] } });
  const slice = { pos: 0, len: 100, chunk, off: 0, inline: Buffer.alloc(0) };
  const big = Commit.create({ ino, slices: [{ slot: 0, slice }] });
  t.equal((await client.call("commit", { ...big, sync: true })).synced, false, "the chunk is on no disk");
  for (const node of [a, b]) await node.ask({ $case: "synced", value: { chunks: [chunk] } });
  t.equal((await client.answer(client.send({ $case: "fsync", value: { ino } }))).errno, "");
  t.equal((await client.call("commit", { ...tiny, sync: true })).synced, true);
});

test("a commit whose chunk never stands fails when the time is over, and can be sent again", async (t) => {
  const clock = new FakeClock();
  const harness = await MetaHarness.start(t, { clock });
  const [a, b] = [await Node.join(t, harness, "a"), await Node.join(t, harness, "b")];
  const client = await harness.client();
  const ino = await client.create(1, "f");
  const { first: chunk } = await client.call("alloc", { count: 1 });
  await a.ask({ $case: "register", value: { chunks: [stored(chunk, [a.id], [b.id])] } });
  const answer = client.answer(commit(client, ino, chunk));
  await client.call("renew", { replayDone: false });
  for (let ms = 0; ms <= harness.deadlines.ioDeadlineMs; ms += 2_000) {
    await clock.advance(2_000);
    for (const node of [a, b]) {
      await node.ask({ $case: "heartbeat", value: { capacity: 2 ** 40, used: 0, chunks: 1, load: undefined } });
    }
    await client.call("renew", { replayDone: false });
  }
  t.equal((await answer).errno, "EIO");
  await b.ask({ $case: "confirm", value: { chunks: [stored(chunk, [b.id], [])] } });
  t.equal((await client.answer(commit(client, ino, chunk))).errno, "");
});

test("of a big file that is removed nothing stays behind", async (t) => {
  const harness = await MetaHarness.start(t);
  const client = await harness.client();
  const ino = await client.create(1, "big", { open: true });
  for (let part = 0; part < 5; part++) {
    const slices = Array.from({ length: 100 }, (_, i) => {
      const slice = { pos: 0, len: 4, chunk: 0, off: 0, inline: Buffer.from("data") };
      return { slot: part * 100 + i, slice };
    });
    await client.call("commit", Commit.create({ ino, slices }));
  }
  await client.call("fsync", { ino });
  t.ok((await harness.keysOf("S")).length >= 500);
  await client.unlink(1, "big");
  client.send({ $case: "close", value: { ino, count: 1, writers: 0 } }, { id: 0 });
  while ((await harness.keysOf("SWO")).length > 0) await client.call("renew", { replayDone: false });
  t.same(await harness.keysOf("SWO"), []);
  t.equal((await client.call("statfs", {})).inodes, 1);
});
