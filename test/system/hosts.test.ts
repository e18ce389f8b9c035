import { randomBytes } from "node:crypto";
import { mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { createKey } from "../../daemon/common/key.js";
import { Hosts, noHosts, type Host } from "../helpers/hosts.js";
import { run } from "../helpers/run.js";

const MIB = 1024 * 1024;
/** So that what is cut off is given up soon. */
const DEADLINES = ["chunkMs=3000", "heartbeatMs=500", "nodeDownMs=3000"].flatMap((d) => ["--deadline", d]);

interface Status {
  readonly nodes: readonly { name: string; address: string; zone: string; state: string }[];
  readonly sessions: readonly { name: string; connected: boolean }[];
}

/** A cluster on six machines and a router. */
class Lab {
  private constructor(readonly hosts: Hosts) {}

  static async start(hosts: Hosts): Promise<Lab> {
    const lab = new Lab(hosts);
    await createKey(lab.path("key"));
    const host = (name: string) => hosts.host(name);
    await lab.daemon("meta", "meta", ["--data", lab.path("meta"), "--listen", "[::]:50052"]);
    const alfa = host("alfa").ip;
    // One that nobody can call but the router.
    await host("bravo").also("192.168.77.3/24");
    await host("router").also("192.168.77.9/24");
    const forward = new URL("../helpers/forward.js", import.meta.url).pathname;
    const way = ["0.0.0.0", "60051", "192.168.77.3", "50051"];
    await hosts.daemon(host("router"), "router", process.execPath, [forward, ...way]);
    await Promise.all([
      // One that listens everywhere, and a second disk of the same machine.
      lab.store("alfa", "alfa1", ["--listen", "0.0.0.0:50051", "--advertise", `${alfa}:50051`]),
      lab.store("alfa", "alfa2", ["--listen", `${alfa}:50061`]),
      lab.store("bravo", "bravo", ["--listen", "192.168.77.3:50051", "--advertise", `${host("router").ip}:60051`]),
      // One that speaks IPv6 alone.
      lab.store("charlie", "charlie", ["--listen", `${host("charlie").ip6}:50051`, "--meta", lab.meta6]),
    ]);
    await Promise.all([
      lab.mount("delta", ["--meta", lab.meta]),
      lab.mount("echo", ["--meta", lab.meta6, "--cache", "1MiB"]),
    ]);
    return lab;
  }

  get meta(): string {
    return `${this.hosts.host("meta").ip}:50052`;
  }

  get meta6(): string {
    return `${this.hosts.host("meta").ip6}:50052`;
  }

  path(...names: string[]): string {
    return join(this.hosts.dir, ...names);
  }

  storeArgs(name: string, more: readonly string[]): string[] {
    const meta = more.includes("--meta") ? [] : ["--meta", this.meta];
    return ["--data", this.path(name), "--name", name, ...meta, ...more];
  }

  store(hostName: string, name: string, more: readonly string[]) {
    return this.daemon(hostName, name, this.storeArgs(name, more), "store");
  }

  daemon(hostName: string, name: string, args: readonly string[], role = name) {
    const all = [role, ...args, "--key", this.path("key"), ...DEADLINES];
    return this.hosts.bigfsd(this.hosts.host(hostName), name, all);
  }

  /** As on another machine: what runs on this one could be read past the network. */
  async mount(hostName: string, more: readonly string[]): Promise<void> {
    await mkdir(this.path("mnt", hostName), { recursive: true });
    const args = [this.path("mnt", hostName), "--foreground", "--no-short-circuit", ...more];
    await this.daemon(hostName, hostName, args, "mount");
  }

  async status(from: Host = this.hosts.host("meta")): Promise<Status> {
    const { code, stdout, stderr } = await from.bigfsd([
      "status",
      "--json",
      "--meta",
      this.meta,
      "--key",
      this.path("key"),
    ]);
    if (code !== 0) throw new Error(`status: ${stderr}`);
    return JSON.parse(stdout) as Status;
  }

  async until(met: (status: Status) => boolean): Promise<void> {
    while (!met(await this.status()));
  }

  /** Ids of the chunks that lie in the folder of a store. */
  async chunks(store: string): Promise<Set<string>> {
    const files = await readdir(this.path(store, "chunks"), { recursive: true, withFileTypes: true });
    return new Set(files.filter((f) => f.isFile()).map((f) => f.name));
  }
}

function isUp(status: Status, names: readonly string[]): boolean {
  return names.every((name) => status.nodes.some((node) => node.name === name && node.state === "UP"));
}

const ALL = ["alfa1", "alfa2", "bravo", "charlie"];

test("a cluster over several machines", { skip: await noHosts() }, async (t) => {
  const names = ["meta", "alfa", "bravo", "charlie", "delta", "echo", "router"];
  const hosts = await Hosts.start(t, names);
  const lab = await Lab.start(hosts);
  const [delta, echo] = [lab.path("mnt", "delta"), lab.path("mnt", "echo")];
  const data = randomBytes(16 * MIB);

  await t.test("a storage daemon is where it says, in the zone of its host's name", async (t) => {
    await lab.until((status) => isUp(status, ALL));
    const { nodes } = await lab.status();
    t.same(nodes.map(({ name, address, zone }) => [name, address, zone]).sort(), [
      ["alfa1", "10.77.0.2:50051", "alfa"],
      ["alfa2", "10.77.0.2:50061", "alfa"],
      ["bravo", "10.77.0.7:60051", "bravo"],
      ["charlie", "[fd77::4]:50051", "charlie"],
    ]);
  });

  await t.test("what one machine wrote and closed, the other reads; copies lie on different machines", async (t) => {
    await writeFile(join(delta, "file"), data);
    t.ok(data.equals(await readFile(join(echo, "file"))));
    await writeFile(join(echo, "small"), "from echo");
    t.equal(await readFile(join(delta, "small"), "utf8"), "from echo");
    const [alfa1, alfa2, bravo, charlie] = await Promise.all(ALL.map((name) => lab.chunks(name)));
    const machines = [new Set([...(alfa1 ?? []), ...(alfa2 ?? [])]), bravo ?? new Set(), charlie ?? new Set()];
    t.equal((alfa1?.size ?? 0) + (alfa2?.size ?? 0), machines[0]?.size, "never both on the disks of one machine");
    const copies = machines.flatMap((machine) => [...machine]);
    t.equal(copies.length, 32);
    t.equal(new Set(copies).size, 16);
    t.ok(
      machines.every((machine) => machine.size > 0),
      "each machine has some",
    );
  });

  await t.test("a name that has several addresses is called at one that answers", async (t) => {
    await writeFile(lab.path("names"), "10.77.0.200 cluster\n10.77.0.1 cluster\n");
    const script = 'mount --bind "$1" /etc/hosts && shift && exec "$@"';
    const bin = new URL("../../daemon/cli/bin.js", import.meta.url).pathname;
    const status = [process.execPath, bin, "status", "--meta", "cluster:50052", "--key", lab.path("key")];
    const { code, stdout, stderr } = await hosts
      .host("delta")
      .run("unshare", ["--mount", "sh", "-euc", script, "sh", lab.path("names"), ...status]);
    t.match({ code, stderr }, { code: 0, stderr: "" });
    t.match(stdout, /4 up of 4/);
  });

  await t.test(
    "a storage daemon that others could not reach does not start, and says what is wrong and where",
    async (t) => {
      for (const [advertise, what] of [
        ["10.77.0.99:50071", /10\.77\.0\.1:50052 refuses .*reached at 10\.77\.0\.99:50071, but: no answer from/],
        ["10.77.0.2:50099", /reached at 10\.77\.0\.2:50099, but: .*ECONNREFUSED/],
        ["charlie.invalid:50051", /reached at charlie\.invalid:50051, but: .*[Rr]esol/],
        ["[fd77::4]:50051", /reached at \[fd77::4\]:50051, but another storage daemon answers there/],
      ] as const) {
        const args = lab.storeArgs("fifth", ["--listen", "10.77.0.2:50071", "--advertise", advertise]);
        const { code, stderr } = await hosts.host("alfa").bigfsd(["store", ...args, "--key", lab.path("key")]);
        t.match({ code, stderr }, { code: 1, stderr: what }, advertise);
        t.match(stderr, /--advertise HOST:PORT/, "and what to do");
      }
      t.equal((await lab.status()).nodes.length, 4, "nothing is recorded of it");
    },
  );

  await t.test(
    "while a machine with storage is cut off, files are read and written; afterwards it is back",
    async (t) => {
      await hosts.host("alfa").unplug();
      t.ok(data.equals(await readFile(join(echo, "file"))), "read from the other copies");
      await writeFile(join(delta, "meanwhile"), data);
      t.ok(data.equals(await readFile(join(echo, "meanwhile"))));
      await hosts.host("alfa").plug();
      await lab.until((status) => isUp(status, ALL));
      await hosts.host("bravo").unplug();
      await hosts.host("router").unplug();
      await lab.until((status) => !isUp(status, ["bravo"]));
      t.ok(data.equals(await readFile(join(echo, "file"))), "also from the one that was away");
      await hosts.host("bravo").plug();
      await hosts.host("router").plug();
      await lab.until((status) => isUp(status, ALL));
    },
  );

  await t.test(
    "a mount on a machine that was cut off goes on when it is back, with what was begun meanwhile",
    async (t) => {
      const here = (status: Status) => status.sessions.some((s) => s.name.startsWith("delta:") && s.connected);
      t.ok(here(await lab.status()), "the session has the host's name");
      await hosts.host("delta").unplug();
      const script =
        'head -c 3000000 /dev/urandom | tee "$1.twin" | dd of="$2" conv=fsync status=none && cmp "$1" "$3"';
      const begun = [lab.path("begun"), join(delta, "begun"), join(delta, "file")];
      await writeFile(lab.path("begun"), data);
      const writing = run("bash", ["-euo", "pipefail", "-c", script, "bash", ...begun]);
      await lab.until((status) => !here(status));
      await writeFile(join(echo, "other"), "others go on");
      await hosts.host("delta").plug();
      t.match(await writing, { code: 0, stderr: "" });
      t.ok((await readFile(lab.path("begun.twin"))).equals(await readFile(join(echo, "begun"))));
      t.equal(await readFile(join(delta, "other"), "utf8"), "others go on");
    },
  );
});
