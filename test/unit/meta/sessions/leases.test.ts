import fc from "fast-check";
import { test } from "tap";
import { Leases, type Lease, type LeaseKey, type PendingRecall } from "../../../../daemon/meta/leases.js";
import { key } from "../../../../daemon/meta/keys.js";
import { nameOf } from "../../../../proto/name.js";

const KEYS: LeaseKey[] = [key.inode(1), key.inode(2), key.entry(1, nameOf(Buffer.from("a")))];
const SESSIONS = [1, 2, 3];

type Message =
  | { kind: "answer"; key: LeaseKey; version: number; cached: boolean; serial: number }
  | { kind: "recall"; recall: PendingRecall };

/** A client as it is on the other end of an orderly stream: what it was told to keep, it keeps until it is told else. */
interface Client {
  readonly inbox: Message[];
  readonly outbox: number[];
  readonly cache: Map<LeaseKey, number>;
  alive: boolean;
}

interface Reading {
  session: number;
  key: LeaseKey;
  version: number;
  lease: Lease;
}

interface Changing {
  session: number;
  key: LeaseKey;
  version: number;
  waits: Set<PendingRecall>;
}

/** Sessions that read, change, and confirm at their own pace; versions of rows stand for their content. */
class World {
  readonly leases = new Leases({ leasesMax: 2, leasesTotal: 100, contendedMs: 0 });
  readonly versions = new Map<LeaseKey, number>(KEYS.map((k) => [k, 0]));
  readonly clients = new Map<number, Client>(
    SESSIONS.map((id) => [id, { inbox: [], outbox: [], cache: new Map(), alive: true }]),
  );
  readings: Reading[] = [];
  changings: Changing[] = [];
  readonly #done: Changing[] = [];
  #serial = 0;

  step(what: number, session: number, k: LeaseKey): void {
    const client = this.client(session);
    const steps = [
      () => this.#read(session, k),
      () => this.#answer(session),
      () => this.#change(session, k),
      () => this.#deliver(client),
      () => this.#deliver(client),
      () => this.#confirm(session, client),
      () => this.#confirm(session, client),
      () => this.#evict(session),
    ];
    if (client.alive) steps[what % steps.length]?.();
    this.#acknowledge();
  }

  client(session: number): Client {
    const client = this.clients.get(session);
    if (client === undefined) throw new Error("no such client");
    return client;
  }

  end(session: number): void {
    const client = this.client(session);
    if (!client.alive) return;
    client.alive = false;
    client.cache.clear();
    this.#over(this.leases.end(session));
    this.#acknowledge();
  }

  /** The rule runs and the lease is given in one turn; the answer leaves later. */
  #read(session: number, k: LeaseKey): void {
    const version = this.versions.get(k) ?? 0;
    this.readings.push({ session, key: k, version, lease: this.leases.grant(session, k, ++this.#serial) });
  }

  #answer(session: number): void {
    const at = this.readings.findIndex((reading) => reading.session === session);
    const [reading] = at < 0 ? [] : this.readings.splice(at, 1);
    if (reading === undefined) return;
    const cached = this.leases.holds(reading.lease);
    const message = { key: reading.key, version: reading.version, cached, serial: ++this.#serial };
    this.client(session).inbox.push({ kind: "answer", ...message });
  }

  #change(session: number, k: LeaseKey): void {
    const version = (this.versions.get(k) ?? 0) + 1;
    this.versions.set(k, version);
    const { fresh, joined } = this.leases.changed([{ key: k, data: true, gone: false }], session, 0);
    for (const recall of fresh) this.client(recall.session).inbox.push({ kind: "recall", recall });
    this.changings.push({ session, key: k, version, waits: new Set([...fresh, ...joined]) });
    // Its own caches are its own business: it drops what it changes.
    this.client(session).cache.delete(k);
  }

  #deliver(client: Client): void {
    const message = client.inbox.shift();
    if (message?.kind === "answer" && message.cached) client.cache.set(message.key, message.version);
    if (message?.kind !== "recall") return;
    for (const lease of message.recall.leases) client.cache.delete(lease.key);
    client.outbox.push(message.recall.number);
  }

  #confirm(session: number, client: Client): void {
    const number = client.outbox.shift();
    const recall = number === undefined ? undefined : this.leases.confirm(session, number);
    if (recall !== undefined) this.#over([recall]);
  }

  #evict(session: number): void {
    const recall = this.leases.evict(session, 0);
    if (recall !== undefined) this.client(session).inbox.push({ kind: "recall", recall });
  }

  #over(recalls: readonly PendingRecall[]): void {
    for (const changing of this.changings) for (const recall of recalls) changing.waits.delete(recall);
  }

  /** Changes whose waits are over are acknowledged: from here on nobody may answer older from a cache. */
  #acknowledge(): void {
    const done = this.changings.filter((changing) => changing.waits.size === 0);
    this.changings = this.changings.filter((changing) => changing.waits.size > 0);
    this.#done.push(...done);
    for (const { session, key: k, version } of this.#done) {
      for (const [id, client] of this.clients) {
        const cached = id === session ? undefined : client.cache.get(k);
        if (cached !== undefined && cached < version) {
          throw new Error(`session ${id} caches version ${cached} of ${k} after ${version} was acknowledged`);
        }
      }
    }
  }
}

test("whatever the order of messages, nobody has an old row cached when its change is acknowledged", async (t) => {
  const step = fc.tuple(fc.nat(7), fc.constantFrom(...SESSIONS), fc.constantFrom(...KEYS));
  fc.assert(
    fc.property(fc.array(step, { minLength: 60, maxLength: 200, size: "max" }), (steps) => {
      const world = new World();
      for (const [what, session, k] of steps) world.step(what, session, k);
      for (const session of SESSIONS) world.end(session);
      return world.changings.length === 0 && world.leases.size === 0;
    }),
    { numRuns: 1000 },
  );
  t.pass("held");
});

test("an own change keeps the lease, but not for answers from before it", async (t) => {
  const leases = new Leases({ leasesMax: 10, leasesTotal: 100, contendedMs: 0 });
  const before = leases.grant(1, key.inode(5), 1);
  leases.changed([{ key: key.inode(5), data: false, gone: false }], 1, 0);
  t.notOk(leases.holds(before));
  t.equal(leases.size, 1);
  t.equal(leases.changed([{ key: key.inode(5), data: false, gone: false }], 2, 0).fresh.length, 1);
});

test("what is forgotten is kept when a later answer told of it", async (t) => {
  const leases = new Leases({ leasesMax: 10, leasesTotal: 100, contendedMs: 0 });
  leases.grant(1, key.inode(5), 7);
  leases.forget(1, key.inode(5), 7);
  t.equal(leases.size, 1, "the answer to 7 may be under way");
  leases.forget(1, key.inode(5), 8);
  t.equal(leases.size, 0);
});

test("after a recall nobody may cache that inode, or names in that folder, for a while", async (t) => {
  const leases = new Leases({ leasesMax: 10, leasesTotal: 100, contendedMs: 2000 });
  const dir = key.inode(9);
  const name = key.entry(9, nameOf(Buffer.from("a")));
  const other = key.entry(9, nameOf(Buffer.from("b")));
  const areContended = (nowMs: number) => [dir, name, other].map((row) => leases.isContended(row, nowMs));
  for (const row of [dir, name]) leases.grant(1, row, 1);
  leases.changed([{ key: name, data: false, gone: false }], 1, 100);
  t.same(areContended(100), [false, false, false], "one session alone");
  leases.changed([{ key: dir, data: false, gone: false }], 2, 100);
  t.same(areContended(2000), [true, false, false], "in one folder, with different names");
  leases.changed([{ key: name, data: false, gone: true }], 2, 5000);
  t.same(areContended(6999), [true, true, true], "with the same names");
  t.same(areContended(7000), [false, false, false]);
});

const DIR = 9;
const CHILD = key.inode(20);
const entryIn = (dir: number, text: string) => key.entry(dir, nameOf(Buffer.from(text)));

/** Session 1 has a lease of the folder, and of a name in it with its inode. */
function withFolder(): { leases: Leases; child: Lease } {
  const leases = new Leases({ leasesMax: 10, leasesTotal: 100, contendedMs: 2000 });
  leases.grant(1, key.inode(DIR), 1);
  leases.grant(1, entryIn(DIR, "a"), 1);
  return { leases, child: leases.grant(1, CHILD, 1) };
}

test("a folder is exclusive as long as nobody else caches it or a name in it", async (t) => {
  for (const others of [key.inode(DIR), entryIn(DIR, "a"), entryIn(DIR, "missing")]) {
    const { leases } = withFolder();
    leases.grant(2, others, 1);
    t.equal(leases.takeExclusively(1, DIR, 0), undefined, others);
    const recall = leases.changed([{ key: others, data: false, gone: false }], 3, 0).fresh.find((r) => r.session === 2);
    t.equal(leases.takeExclusively(1, DIR, 5000), undefined, "before that is confirmed");
    leases.confirm(2, recall?.number ?? 0);
    leases.grant(1, key.inode(DIR), 2);
    t.ok(leases.takeExclusively(1, DIR, 5000), "then");
  }
  const { leases } = withFolder();
  leases.grant(2, entryIn(DIR + 1, "a"), 1);
  t.match(leases.takeExclusively(1, DIR, 0), { session: 1, dir: DIR, state: "live" });
  t.equal(leases.takeExclusively(2, DIR, 0), undefined, "who has no lease of it");
});

test("what is in an exclusive folder is so too, unless others have it", async (t) => {
  const { leases, child } = withFolder();
  const exclusive = leases.takeExclusively(1, DIR, 0)!;
  const known = leases.grant(1, key.inode(21), 1);
  leases.grant(2, key.inode(21), 1);
  t.same([leases.enclose(child, exclusive), leases.enclose(known, exclusive)], [true, false]);
  const holders = () => [key.inode(DIR), CHILD, key.inode(21)].map((row) => leases.exclusiveOf(row, 2)?.dir);
  t.same(holders(), [DIR, DIR, undefined]);
  t.equal(leases.exclusiveOf(CHILD, 1), undefined, "it is its own");
  leases.changed([{ key: key.inode(DIR), data: false, gone: false }], 1, 0);
  leases.forget(1, key.inode(DIR), 9);
  leases.forget(1, CHILD, 9);
  t.same(holders(), [DIR, DIR, undefined], "own changes leave it so, and what was forgotten may be under way");
  leases.changed([{ key: key.inode(DIR), data: false, gone: true }], 1, 0);
  t.same(holders(), [undefined, undefined, undefined], "the folder is gone");
});

test("an exclusive folder is everybody's when its recall is confirmed or its session has ended, not before", async (t) => {
  for (const end of ["confirm", "end"] as const) {
    const { leases, child } = withFolder();
    const exclusive = leases.takeExclusively(1, DIR, 0)!;
    leases.enclose(child, exclusive);
    const first = leases.endExclusive(exclusive, 100);
    t.match(first, { isFresh: true, recall: { session: 1, message: { inodes: [{ ino: DIR }], entries: [] } } });
    t.match(leases.endExclusive(exclusive, 100), { isFresh: false, recall: { number: first?.recall.number } });
    t.equal(exclusive.state, "recalled");
    t.notOk(leases.enclose(leases.grant(1, key.inode(30), 1), exclusive));
    t.equal(leases.exclusiveOf(CHILD, 2), exclusive, "what was done in it may be under way");
    if (end === "confirm") leases.confirm(1, first?.recall.number ?? 0);
    else leases.end(1);
    t.equal(leases.exclusiveOf(CHILD, 2), undefined);
    t.equal(leases.endExclusive(exclusive, 100), undefined);
    leases.grant(1, key.inode(DIR), 2);
    t.equal(leases.takeExclusively(1, DIR, 2000), undefined, "others look at it");
    t.ok(leases.takeExclusively(1, DIR, 2100));
  }
});
