import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chmod, chown, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type Test } from "tap";
import { TestCluster } from "../helpers/cluster.js";
import { must, run } from "../helpers/run.js";

/** The server does not run as root: as nobody. */
const NOBODY = 65534;
const AS_NOBODY = ["--reuid=65534", "--regid=65534", "--clear-groups"];
/** What pgbench keeps equal in each transaction, and how many rows the other writer has. */
const SUMS = `select (select sum(abalance) from pgbench_accounts), (select sum(tbalance) from pgbench_tellers),
  (select sum(bbalance) from pgbench_branches), (select sum(delta) from pgbench_history),
  (select count(*) from pgbench_accounts), (select count(*) > 0 from pgbench_history),
  (select count(*) from told), (select max(n) from told)`;

/** A PostgreSQL server of the test's own, whose data folder lies on a mount. It listens on a socket of a local folder. */
class Postgres {
  readonly #socket: string;
  /** While it runs. */
  #pid: number | undefined;

  private constructor(
    private readonly programs: string,
    private readonly data: string,
    local: string,
  ) {
    this.#socket = local;
  }

  static async create(t: Test, cluster: TestCluster): Promise<Postgres> {
    const programs = (await run("bash", ["-c", "ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1"])).stdout.trim();
    if (!existsSync(join(programs, "initdb")))
      throw new Error("this test needs PostgreSQL: apt-get install -y postgresql");
    const [data, local] = [join(cluster.mnt, "pg"), join(cluster.dir, "pg-local")];
    await chmod(cluster.dir, 0o755);
    for (const folder of [data, local]) {
      await mkdir(folder);
      await chown(folder, NOBODY, NOBODY);
    }
    const server = new Postgres(programs, data, local);
    t.teardown(() => server.kill());
    await server.#as("initdb", "--pgdata", data, "--data-checksums", "--username=test", "--auth=trust");
    return server;
  }

  async start(): Promise<void> {
    const options = `-k ${this.#socket} -h '' -c checkpoint_timeout=30s -c full_page_writes=on`;
    await this.#as("pg_ctl", "start", "-w", "-D", this.data, "-l", join(this.#socket, "log"), "-o", options).catch(
      async (error: Error) => {
        throw new Error(`${error.message}\n${await readFile(join(this.#socket, "log"), "utf8")}`);
      },
    );
    this.#pid = Number((await readFile(join(this.data, "postmaster.pid"), "utf8")).split("\n")[0]);
  }

  async stop(): Promise<void> {
    await this.#as("pg_ctl", "stop", "-w", "-m", "fast", "-D", this.data);
    this.#pid = undefined;
  }

  /** kill -9 of the server and all of its processes, even when its folder cannot be read any more. */
  async kill(): Promise<void> {
    if (this.#pid === undefined) return;
    // Without their parent no new ones come.
    const family = [this.#pid, ...(await this.#childrenOf(this.#pid))];
    for (const pid of family) await run("kill", ["-9", String(pid)]);
    for (const pid of family) {
      while (existsSync(`/proc/${pid}`)) await new Promise((resolve) => setImmediate(resolve));
    }
    this.#pid = undefined;
  }

  /** A program that talks to the server. */
  client(program: string, ...args: string[]): Promise<string> {
    return must(join(this.programs, program), ["-h", this.#socket, "-U", "test", ...args]);
  }

  query(sql: string): Promise<string> {
    return this.client("psql", "-qAtX", "-F", " ", "-c", sql, "postgres");
  }

  /** Runs pgbench until the server is gone. */
  bench(): Promise<unknown> {
    const args = ["-h", this.#socket, "-U", "test", "-n", "-c", "4", "-j", "2", "-t", "1000000", "postgres"];
    return run(join(this.programs, "pgbench"), args);
  }

  /** Inserts the numbers from `first` on, one transaction each, until the server is gone. */
  insert(first: number): Inserting {
    return new Inserting(join(this.programs, "psql"), ["-h", this.#socket, "-U", "test", "-qAtX", "postgres"], first);
  }

  /** Asserts that all is there; stops it to look at every page, and starts it again. */
  async whole(t: Test, told: number, message: string): Promise<void> {
    const sums = (await this.query(SUMS)).trim().split(" ");
    const [accounts, tellers, branches, history, rows, hasHistory, count, highest] = sums;
    t.same([tellers, branches, history], [accounts, accounts, accounts], `${message}: the balances agree`);
    t.same([rows, hasHistory], ["100000", "t"], `${message}: there is a history`);
    t.equal(count, highest, `${message}: no number is missing`);
    t.ok([told, told + 1].includes(Number(count)), `${message}: ${count} rows, ${told} were acknowledged`);
    t.equal(await this.client("pg_amcheck", "--install-missing", "--heapallindexed", "--parent-check", "postgres"), "");
    await this.stop();
    t.match(await this.#as("pg_checksums", "--check", "-D", this.data), /Bad checksums: +0\n/, message);
    await this.start();
  }

  #as(program: string, ...args: string[]): Promise<string> {
    return must("setpriv", [...AS_NOBODY, join(this.programs, program), ...args], { cwd: "/", timeout: 120_000 });
  }

  async #childrenOf(pid: number): Promise<number[]> {
    const { stdout } = await run("ps", ["-o", "pid=", "--ppid", String(pid)]);
    return stdout
      .split("\n")
      .map(Number)
      .filter((child) => child > 0);
  }
}

/** A client whose every insert is a transaction. */
class Inserting {
  readonly #child;
  readonly #ended: Promise<unknown>;
  #answers = "";

  constructor(
    psql: string,
    args: readonly string[],
    private readonly first: number,
  ) {
    this.#child = spawn(psql, args, { stdio: ["pipe", "pipe", "ignore"] });
    this.#child.stdin.on("error", () => undefined);
    this.#child.stdout.on("data", (chunk: Buffer) => (this.#answers += chunk.toString()));
    this.#ended = once(this.#child, "close");
    const numbers = Array.from({ length: 20_000 }, (_, n) => first + n);
    this.#child.stdin.end(
      numbers.map((n) => `insert into told values (${n}, repeat('${n} ', 300)) returning n;\n`).join(""),
    );
  }

  /** The highest number that the server has acknowledged. */
  get told(): number {
    return this.first - 1 + this.#answers.split("\n").length - 1;
  }

  async has(told: number): Promise<void> {
    while (this.told < told && this.#child.exitCode === null) {
      await Promise.race([once(this.#child.stdout, "data"), this.#ended]);
    }
  }

  async ended(): Promise<void> {
    await this.#ended;
  }
}

test("PostgreSQL on a mount keeps what it has acknowledged when it is killed, and when the mount is", async (t) => {
  const cluster = await TestCluster.start(t, ["--allow-other"]);
  const server = await Postgres.create(t, cluster);
  await server.start();
  await server.client("pgbench", "-i", "-q", "-s", "1", "postgres");
  await server.query("create table told (n integer primary key, filler text)");
  t.equal(await server.query("show fsync"), "on\n");

  const benching = server.bench();
  const inserting = server.insert(1);
  await inserting.has(60);
  await server.kill();
  await Promise.all([benching, inserting.ended()]);
  t.ok(inserting.told >= 60, "clients were under way");
  await server.start();
  await server.whole(t, inserting.told, "after the death of the server");

  const again = server.bench();
  const more = server.insert(Number(await server.query("select max(n) + 1 from told")));
  await more.has(inserting.told + 60);
  await cluster.kill("mount");
  await more.ended();
  await server.kill();
  await again;
  await cluster.up();
  await server.start();
  await server.whole(t, more.told, "after the death of the mount");
  await server.stop();
});
