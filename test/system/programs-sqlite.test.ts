import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import root, { test, type Test } from "tap";
import { TestCluster } from "../helpers/cluster.js";
import { packageRoot } from "../helpers/package-root.js";
import { must, run } from "../helpers/run.js";
import { shared } from "../helpers/shared.js";

const PROGRAM = join(packageRoot, "test/helpers/sqlite-writer.py");
const SHORT = ["leaseMs=3000", "leaseMarginMs=500", "renewMs=500"].flatMap((change) => ["--deadline", change]);

interface Pair {
  readonly cluster: TestCluster;
  readonly second: string;
}

async function pairWith(deadlines: readonly string[]): Promise<Pair> {
  const cluster = await TestCluster.start(root, deadlines);
  return { cluster, second: await cluster.mountAgain("second", deadlines) };
}

const usual = shared(() => pairWith([]));
const short = shared(() => pairWith(SHORT));

interface Checked {
  readonly rows: Record<string, number>;
  readonly integrity: string;
}

/** A process that writes transactions into a database. */
class Writer {
  readonly #child;
  readonly #ended: Promise<unknown>;
  #hasEnded = false;
  #output = "";
  #errors = "";

  constructor(
    t: Test,
    database: string,
    readonly name: string,
    count: number,
    journal: string,
  ) {
    this.#child = spawn("python3", [PROGRAM, database, name, String(count), journal]);
    this.#child.stdout.on("data", (chunk: Buffer) => (this.#output += chunk.toString()));
    this.#child.stderr.on("data", (chunk: Buffer) => (this.#errors += chunk.toString()));
    this.#ended = once(this.#child, "close").then(() => (this.#hasEnded = true));
    t.teardown(() => this.kill());
  }

  /** How many transactions it knows to be done. */
  get acknowledged(): number {
    return this.#output.split("\n").length - 1;
  }

  async has(acknowledged: number): Promise<void> {
    while (this.acknowledged < acknowledged) {
      await Promise.race([once(this.#child.stdout, "data"), this.#ended]);
      if (this.#hasEnded && this.acknowledged < acknowledged) throw new Error(`${this.name} has ended: ${this.#why}`);
    }
  }

  /** Why it has failed; empty when it has done everything. */
  async ended(): Promise<string> {
    await this.#ended;
    return this.#child.exitCode === 0 ? "" : this.#why;
  }

  /** The last line of what Python tells says what was wrong. */
  get #why(): string {
    return this.#errors.trim().split("\n").at(-1) || "killed";
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#ended;
  }
}

async function checked(database: string): Promise<Checked> {
  return JSON.parse(await must("python3", [PROGRAM, database, "--check"])) as Checked;
}

/** Asserts that the database is whole, and has what was acknowledged and no more than what was under way beside it. */
async function whole(t: Test, database: string, writers: readonly Writer[], message: string): Promise<void> {
  const { rows, integrity } = await checked(database);
  t.equal(integrity, "ok", `${message}: it is whole`);
  for (const { name, acknowledged } of writers) {
    const there = rows[name] ?? 0;
    t.ok(
      there === acknowledged || there === acknowledged + 1,
      `${message}: ${there} rows of ${name}, ${acknowledged} were told`,
    );
  }
}

test("SQLite in WAL mode survives the death of a writer, and of the mount", async (t) => {
  const { cluster, second } = await short();
  const database = join(cluster.mnt, "wal");
  const killed = new Writer(t, database, "killed", 100_000, "wal");
  const steady = new Writer(t, database, "steady", 20, "wal");
  await Promise.all([killed.has(10), steady.has(5)]);
  t.ok((await stat(`${database}-wal`)).size > 0, "it uses the log");
  const reader = run("bash", ["-c", `for n in 1 2 3; do python3 ${PROGRAM} ${database} --check || exit 1; done`]);
  await killed.kill();
  const next = new Writer(t, database, "next", 15, "wal");
  t.match(await reader, { code: 0, stderr: "" }, "readers always see whole transactions");
  t.equal(await next.ended(), "");
  t.equal(await steady.ended(), "");
  await whole(t, database, [killed, steady, next], "after the death of a writer");

  const last = new Writer(t, database, "last", 100_000, "wal");
  await last.has(10);
  await cluster.kill("mount");
  t.not(await last.ended(), "");
  await cluster.up();
  await whole(t, database, [killed, steady, next, last], "after the death of the mount");
  await whole(t, join(second, "wal"), [killed, steady, next, last], "on another mount, after the first has closed it");
});

test("SQLite with a rollback journal keeps every transaction of two mounts at once (D37)", async (t) => {
  const { cluster, second } = await usual();
  for (const journal of ["delete", "persist", "truncate"]) {
    const writers = [cluster.mnt, second].flatMap((mount, m) =>
      ["a", "b"].map((name) => new Writer(t, join(mount, journal), `${name}${m}`, 10, journal)),
    );
    t.same(await Promise.all(writers.map((writer) => writer.ended())), ["", "", "", ""]);
    const all = { rows: { a0: 10, a1: 10, b0: 10, b1: 10 }, integrity: "ok" };
    for (const mount of [cluster.mnt, second]) t.same(await checked(join(mount, journal)), all, journal);
  }
});

test("SQLite on two mounts goes on when the metadata daemon was killed and started again (D37)", async (t) => {
  const { cluster, second } = await usual();
  await mkdir(join(cluster.mnt, "d"));
  const writers = [cluster.mnt, second].flatMap((mount, m) =>
    ["a", "b"].map((name) => new Writer(t, join(mount, "d/db"), `${name}${m}`, 15, "delete")),
  );
  for (const many of [3, 8]) {
    await Promise.race(writers.map((writer) => writer.has(many)));
    await cluster.kill("meta");
    await cluster.up();
  }
  t.same(await Promise.all(writers.map((writer) => writer.ended())), ["", "", "", ""]);
  await whole(t, join(second, "d/db"), writers, "after both restarts");
});

test("SQLite on one mount goes on when another that writes into the same database is killed (D37)", async (t) => {
  const { cluster, second } = await short();
  const dying = ["a", "b"].map((name) => new Writer(t, join(cluster.mnt, "db"), name, 100_000, "delete"));
  const staying = ["c", "d"].map((name) => new Writer(t, join(second, "db"), name, 10, "delete"));
  await Promise.all([...dying, ...staying].map((writer) => writer.has(3)));
  await cluster.kill("mount");
  for (const writer of dying) t.not(await writer.ended(), "");
  for (const writer of staying) t.equal(await writer.ended(), "");
  await whole(t, join(second, "db"), [...dying, ...staying], "on the mount that lived");
  await cluster.up();
  await whole(t, join(cluster.mnt, "db"), [...dying, ...staying], "on the one that was mounted again");
});
