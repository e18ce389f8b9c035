import fc from "fast-check";
import { test } from "tap";
import { Requests, type Request } from "../../../../mount/clients/requests.js";
import type { ServerFrame, Stamp } from "../../../../proto/gen/bigfs/v1/meta.js";
import { turns } from "./scripted-meta.js";

interface Entry {
  readonly id: number;
  readonly name: string;
  readonly order: number;
  readonly batch: number;
}

interface Heard {
  readonly id: number;
  readonly name: string;
  readonly again: boolean;
}

/**
 * A daemon that appends names to a list: at once in memory, on disk with the next commit, and with each its reply. A
 * crash loses what was not on disk, and what was on its way.
 */
class ListDaemon {
  readonly disk: Entry[] = [];
  #memory: Entry[] = [];
  #inbox: Heard[] = [];
  outbox: ServerFrame[] = [];
  #order = 0;
  durable = 0;

  get list(): string[] {
    return this.#memory.map(({ name }) => name);
  }

  hear(heard: Heard): void {
    this.#inbox.push(heard);
  }

  run(): void {
    const heard = this.#inbox.shift();
    if (heard === undefined) return;
    const { id, name, again } = heard;
    const known = again ? this.#memory.find((entry) => entry.id === id) : undefined;
    if (known !== undefined) {
      // A stored reply is given when all is on disk.
      this.commit();
      this.#answer(id, { now: undefined, inos: [], order: 0, batch: 0 });
      return;
    }
    const order = ++this.#order;
    this.#memory.push({ id, name, order, batch: order });
    this.#answer(id, { now: undefined, inos: [], order, batch: order });
  }

  /** Other clients do something. */
  others(): void {
    this.#order += 3;
  }

  commit(): void {
    this.disk.splice(0, Infinity, ...this.#memory);
    this.durable = this.#order;
  }

  crash(): void {
    this.#memory = [...this.disk];
    this.#inbox = [];
    this.outbox = [];
    this.#order = 0;
    this.durable = 0;
  }

  get isIdle(): boolean {
    return this.#inbox.length === 0 && this.outbox.length === 0;
  }

  #answer(id: number, stamp: Stamp): void {
    this.outbox.push({ id, errno: "", durable: 0, echoMs: 0, stamp, op: { $case: "unlink", value: {} } });
  }
}

/** The client over its requests: as meta-client.ts uses them, with a daemon that answers when it is told to. */
class Client {
  readonly requests = new Requests();
  readonly daemon = new ListDaemon();
  /** Pairs: the first was told before the second was asked, or was done before it in one life and both were told. */
  readonly before: [string, string][] = [];
  readonly told: string[] = [];
  #done: { readonly name: string; readonly order: number }[] = [];
  readonly #names = new Map<number, string>();
  #asked = 0;

  ask(): void {
    const name = `n${this.#asked++}`;
    for (const earlier of this.told) this.before.push([earlier, name]);
    const op = { $case: "unlink" as const, value: { dir: 1, name: Buffer.from(name) } };
    void this.requests.add(op, undefined, 0).then(() => this.told.push(name));
    for (const request of this.requests.take()) this.#send(request, false);
  }

  /** Answers may come in another order than requests were done. */
  receive(place: "first" | "last" = "first"): void {
    const frame = place === "first" ? this.daemon.outbox.shift() : this.daemon.outbox.pop();
    if (frame === undefined) return;
    this.requests.durableUpTo(this.daemon.durable);
    this.requests.answered(frame);
    const name = this.#names.get(frame.id) ?? "";
    const order = frame.stamp?.order ?? 0;
    if (order === 0) return;
    for (const other of this.#done) this.before.push(other.order < order ? [other.name, name] : [name, other.name]);
    this.#done.push({ name, order });
  }

  crash(): void {
    this.daemon.crash();
    this.#done = [];
    for (const { request } of this.requests.resume(this.daemon.durable)) this.#send(request, true);
  }

  finish(): void {
    while (!this.daemon.isIdle) {
      this.daemon.run();
      this.receive();
    }
    this.daemon.commit();
    this.requests.durableUpTo(this.daemon.durable);
  }

  #send({ id, op }: Request, again: boolean): void {
    const name = op.$case === "unlink" ? op.value.name.toString() : "";
    this.#names.set(id, name);
    this.daemon.hear({ id, name, again });
  }
}

const STEPS = ["ask", "ask", "run", "run", "run", "receive", "receive", "last", "commit", "others", "crash"] as const;

test("whatever crashes when, each request is done once, and after those that were told before it was asked", async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.constantFrom(...STEPS), { maxLength: 120, size: "max" }), async (steps) => {
      const client = new Client();
      let asked = 0;
      for (const step of steps) {
        if (step === "ask") {
          asked++;
          client.ask();
        } else if (step === "run") client.daemon.run();
        else if (step === "commit") client.daemon.commit();
        else if (step === "receive") client.receive();
        else if (step === "last") client.receive("last");
        else if (step === "others") client.daemon.others();
        else client.crash();
        await Promise.resolve();
        await Promise.resolve();
      }
      client.finish();
      await turns(1);
      const { list } = client.daemon;
      const place = new Map(list.map((name, index) => [name, index]));
      const isOrdered = client.before.every(([a, b]) => (place.get(a) ?? Infinity) < (place.get(b) ?? -Infinity));
      const isDurable = client.requests.retained === 0 && client.requests.oldestOpen === asked + 1;
      return list.length === asked && place.size === asked && client.told.length === asked && isOrdered && isDurable;
    }),
    { numRuns: 500 },
  );
  t.pass();
});

test("who waits for durability waits for what was told before, not for what comes later", async (t) => {
  const client = new Client();
  client.ask();
  client.daemon.run();
  client.receive();
  await turns(1);
  let isDurable = false;
  const durable = client.requests.whenDurable(0).then(() => (isDurable = true));
  client.daemon.commit();
  client.ask();
  client.daemon.run();
  await turns(1);
  t.notOk(isDurable);
  client.receive();
  await durable;
  t.equal(client.requests.retained, 1, "the later one is not durable");
});
