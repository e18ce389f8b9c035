import fc from "fast-check";
import { test } from "tap";
import type { Executor } from "../../../../daemon/meta/executor.js";
import { key } from "../../../../daemon/meta/keys.js";
import type { ListedEntry } from "../../../../daemon/meta/listing.js";
import { MemoryStore } from "../../../../daemon/meta/memory-store.js";
import type { Tx } from "../../../../daemon/meta/tx.js";
import { EntryRow, InodeRow } from "../../../../proto/gen/bigfs/v1/rows.js";
import { FsError } from "../../../../proto/errno.js";
import { nameBytes, nameOf, type Name } from "../../../../proto/name.js";
import { executorOver, Gates, stateOf } from "./lab.js";

const DIR = 1;

function nameFor(n: number): Name {
  return nameOf(Buffer.from([0xff, n]));
}

function create(tx: Tx, name: Name): void {
  const dir = tx.get(key.inode(DIR)) ?? InodeRow.fromPartial({ ino: DIR, nextCookie: 3 });
  if (tx.get(key.entry(DIR, name)) !== undefined) throw new FsError("EEXIST");
  add(tx, name, dir, 1000 + dir.nextCookie);
}

function unlink(tx: Tx, name: Name): number {
  const entry = tx.get(key.entry(DIR, name));
  if (entry === undefined) throw new FsError("ENOENT");
  tx.del(key.entry(DIR, name));
  tx.del(key.cookie(DIR, entry.cookie));
  return entry.ino;
}

function rename(tx: Tx, from: Name, to: Name): void {
  const ino = unlink(tx, from);
  if (from !== to && tx.get(key.entry(DIR, to)) !== undefined) unlink(tx, to);
  add(tx, to, tx.get(key.inode(DIR)) ?? InodeRow.fromPartial({ ino: DIR, nextCookie: 3 }), ino);
}

function add(tx: Tx, name: Name, dir: InodeRow, ino: number): void {
  const cookie = dir.nextCookie;
  tx.put(key.inode(DIR), { ...dir, nextCookie: cookie + 1 });
  tx.put(key.entry(DIR, name), EntryRow.fromPartial({ ino, cookie }));
  tx.put(key.cookie(DIR, cookie), { name: nameBytes(name), ino, type: 0 });
}

/** The folder's entries in cookie order after each operation, by its order. */
class History {
  readonly states: string[][] = [[]];

  note(executor: Executor, tx: Tx): void {
    const cookies: string[] = [];
    const next = tx.get(key.inode(DIR))?.nextCookie ?? 3;
    for (let cookie = 3; cookie < next; cookie++) {
      const row = tx.get(key.cookie(DIR, cookie));
      if (row !== undefined) cookies.push(textOf({ cookie, name: nameOf(row.name), ino: row.ino, type: row.type }));
    }
    this.states[executor.order + 1] = cookies;
  }
}

function textOf(entry: ListedEntry): string {
  return JSON.stringify([entry.cookie, entry.name, entry.ino]);
}

interface Change {
  readonly kind: "create" | "unlink" | "rename";
  readonly a: number;
  readonly b: number;
  readonly session: number;
}

const change: fc.Arbitrary<Change> = fc.record({
  kind: fc.constantFrom("create", "create", "unlink", "rename"),
  a: fc.integer({ min: 0, max: 5 }),
  b: fc.integer({ min: 0, max: 5 }),
  session: fc.integer({ min: 0, max: 2 }),
});

function rule(op: Change): (tx: Tx) => void {
  if (op.kind === "create") return (tx) => create(tx, nameFor(op.a));
  if (op.kind === "unlink") return (tx) => void unlink(tx, nameFor(op.a));
  return (tx) => rename(tx, nameFor(op.a), nameFor(op.b));
}

test("each page of a listing is the folder at one moment, while others create, unlink and rename (D23, D38)", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.scheduler(),
      fc.array(change, { maxLength: 6 }),
      fc.array(change, { minLength: 1, maxLength: 10 }),
      fc.integer({ min: 1, max: 4 }),
      async (s, first, ops, limit) => {
        const history = new History();
        const store = new MemoryStore({ gate: (call, when) => s.schedule(Promise.resolve(), `${when} ${call}`) });
        const { executor } = executorOver(store, {
          cacheBytes: 1,
          defer: (go) => void s.schedule(Promise.resolve(), "batch").then(go),
        });
        const doIt = async (op: Change) => {
          const noted = (tx: Tx) => {
            rule(op)(tx);
            history.note(executor, tx);
          };
          await executor.execute(op.session, noted).catch((error: unknown) => {
            if (!(error instanceof FsError) || error.errno === "EIO") throw error;
          });
        };
        const list = async () => {
          let after = 0;
          for (let isEnd = false; !isEnd;) {
            const since = executor.order;
            const page = await executor.list(1, { dir: DIR, after, limit });
            const texts = page.entries.map(textOf);
            const moments = history.states.slice(since, executor.order + 1);
            if (!moments.some((state) => isPage(state, after, texts, page.end))) {
              throw new Error(`no moment shows ${texts.join()} (end: ${String(page.end)}), ${JSON.stringify(moments)}`);
            }
            if (page.entries.length === 0 && !page.end) throw new Error("an empty page that is not the end");
            after = page.entries.at(-1)?.cookie ?? after;
            isEnd = page.end;
          }
        };
        const start = (fn: () => Promise<void>) => s.schedule(Promise.resolve(), "start").then(fn);
        const prepare = async () => {
          for (const op of first) await doIt(op);
        };
        await s.waitFor(prepare());
        await s.waitFor(Promise.all([start(list), start(list), ...ops.map((op) => start(() => doIt(op)))]));
      },
    ),
    { numRuns: 300 },
  );
});

function isPage(state: readonly string[], after: number, texts: readonly string[], isEnd: boolean): boolean {
  const rest = state.filter((text) => (JSON.parse(text) as [number])[0] > after);
  const same = texts.every((text, i) => rest[i] === text);
  return same && (!isEnd || rest.length === texts.length);
}

test("a listing shows a session its own undurable entries at once and waits for those of others", async (t) => {
  const gates = new Gates();
  const { executor } = executorOver(new MemoryStore({ gate: gates.gate }));
  gates.close("before commit");
  await executor.execute(1, (tx) => create(tx, nameFor(1)));
  const query = { dir: DIR, after: 0, limit: 10 };
  t.same(
    (await executor.list(1, query)).entries.map(({ name }) => name),
    [nameFor(1)],
  );
  const other = executor.list(2, query);
  t.equal(await stateOf(other), "waiting");
  gates.open("before commit");
  t.same(
    (await other).entries.map(({ name }) => name),
    [nameFor(1)],
  );

  gates.close("before commit");
  await executor.execute(1, (tx) => unlink(tx, nameFor(1)));
  const without = executor.list(2, query);
  t.equal(await stateOf(without), "waiting", "that an entry is gone is told when that is durable");
  gates.open("before commit");
  t.same((await without).entries, []);
});

test("a listing cut by its limit does not wait for what comes after it", async (t) => {
  const gates = new Gates();
  const { executor } = executorOver(new MemoryStore({ gate: gates.gate }));
  await executor.execute(1, (tx) => create(tx, nameFor(1)));
  await executor.execute(1, (tx) => create(tx, nameFor(2)));
  await executor.drained();
  gates.close("before commit");
  await executor.execute(1, (tx) => create(tx, nameFor(3)));
  const page = await executor.list(2, { dir: DIR, after: 0, limit: 1 });
  t.same([page.entries.map(({ name }) => name), page.end], [[nameFor(1)], false]);
  gates.open("before commit");
  await executor.drained();
});

test("a scan of any kind goes on behind rows that were deleted and not yet written so", async (t) => {
  const gates = new Gates();
  const { executor } = executorOver(new MemoryStore({ gate: gates.gate }));
  const orphans = [1, 2, 3, 4, 5];
  await executor.execute(1, (tx) => orphans.forEach((ino) => tx.put(key.orphan(ino), { ino })));
  await executor.drained();
  gates.close("before commit");
  await executor.execute(1, (tx) => [1, 2, 3].forEach((ino) => tx.del(key.orphan(ino))));
  await executor.execute(1, (tx) => tx.put(key.orphan(9), { ino: 9 }));
  const first = await executor.scan<"O">(1, { from: "O", to: "P", limit: 2 });
  const rest = await executor.scan<"O">(1, { from: first.next ?? "", to: "P", limit: 9 });
  t.same(
    [...first.rows, ...rest.rows].map(({ row }) => row.ino),
    [4, 5, 9],
  );
  t.equal(rest.next, undefined);
  gates.open("before commit");
  await executor.drained();
});

test("a change during a listing replaces what was undurable when it began", async (t) => {
  const gates = new Gates();
  const { executor } = executorOver(new MemoryStore({ gate: gates.gate }), { cacheBytes: 1 });
  gates.close("before commit");
  await executor.execute(1, (tx) => create(tx, nameFor(1)));
  gates.close("before scan");
  const listing = executor.list(1, { dir: DIR, after: 0, limit: 10 });
  await executor.execute(1, (tx) => unlink(tx, nameFor(1)));
  await executor.execute(1, (tx) => create(tx, nameFor(2)));
  gates.open("before commit");
  await executor.drained();
  gates.open("before scan");
  t.same(
    (await listing).entries.map(({ name }) => name),
    [nameFor(2)],
  );
});
