import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import type { Test } from "tap";
import { run, type Outcome } from "./run.js";

/** A hardware address that no host has. */
const NOBODY = "02:00:00:00:00:01";

const BIN = new URL("../../daemon/cli/bin.js", import.meta.url).pathname;

/** Why hosts cannot be made here; false: they can. */
export async function noHosts(): Promise<string | false> {
  if (process.getuid?.() !== 0) return "needs root: it makes network namespaces";
  const probe =
    "ip link add one type veth peer name two && ip link add three type bridge && setpriv --pdeathsig KILL true";
  const { code, stderr } = await run("unshare", ["--net", "--uts", "sh", "-c", probe]);
  return code === 0 ? false : `needs network namespaces with veth and bridge: ${stderr.trim() || `exit ${code}`}`;
}

/** Holds a network and a host name for as long as this process lives. */
class Namespaces {
  private constructor(private readonly holder: ChildProcess) {}

  static async make(name: string): Promise<Namespaces> {
    // cat ends with its input: at the end of this process, however that comes.
    const script = 'hostname "$1" && ip link set lo up && echo && exec cat';
    const holder = spawn("unshare", ["--net", "--uts", "sh", "-c", script, "sh", name], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    await Promise.race([
      once(holder.stdout, "data"),
      once(holder, "exit").then(() => Promise.reject(new Error(`no namespaces for ${name}`))),
    ]);
    return new Namespaces(holder);
  }

  get pid(): number {
    return this.holder.pid ?? 0;
  }

  /** The same program and arguments, inside. The mounts stay those of the test; it ends when the test process does. */
  inside(program: string, args: readonly string[]): [string, string[]] {
    const enter = ["--target", `${this.pid}`, "--net", "--uts", "--", "setpriv", "--pdeathsig", "KILL", "--"];
    return ["nsenter", [...enter, program, ...args]];
  }

  async must(line: string): Promise<void> {
    const { code, stderr } = await run(...this.inside("sh", ["-euc", line]));
    if (code !== 0) throw new Error(`${line}: ${stderr}`);
  }

  async end(): Promise<void> {
    this.holder.stdin?.end();
    if (this.holder.exitCode === null && this.holder.signalCode === null) await once(this.holder, "exit");
  }
}

/** One machine of the network. */
export class Host {
  constructor(
    readonly name: string,
    /** Its number in its addresses. */
    private readonly number: number,
    private readonly namespaces: Namespaces,
    private readonly cable: { set(state: "up" | "down"): Promise<void> },
  ) {}

  get ip(): string {
    return `10.77.0.${this.number}`;
  }

  get ip6(): string {
    return `[fd77::${this.number}]`;
  }

  /** A further address, of a network that only hosts which were given one know. */
  also(address: string): Promise<void> {
    return this.namespaces.must(`ip addr add ${address} dev eth0`);
  }

  run(program: string, args: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
    const settings = { env: { BIGFS_META: "", BIGFS_KEY: "", ...env }, timeout: 60_000 };
    return run(...this.namespaces.inside(program, args), settings);
  }

  bigfsd(args: readonly string[]): Promise<Outcome> {
    return this.run(process.execPath, [BIN, ...args]);
  }

  inside(program: string, args: readonly string[]): [string, string[]] {
    return this.namespaces.inside(program, args);
  }

  /** Its cable is pulled: nobody hears of it, and it hears of nobody. */
  unplug(): Promise<void> {
    return this.cable.set("down");
  }

  plug(): Promise<void> {
    return this.cable.set("up");
  }

  /** What it sends to that one by IPv4 gets lost, and nobody is told; what comes from there arrives. */
  lose(to: Host): Promise<void> {
    return this.namespaces.must(`ip neigh replace ${to.ip} lladdr ${NOBODY} dev eth0 nud permanent`);
  }

  /** Whether a connection to that port comes about within a second. */
  async connects(to: Host, port: number): Promise<boolean> {
    return (await this.run("timeout", ["1", "bash", "-c", `true < /dev/tcp/${to.ip}/${port}`])).code === 0;
  }

  /** It reaches that one again. */
  reach(to: Host): Promise<void> {
    return this.namespaces.must(`ip neigh del ${to.ip} dev eth0`);
  }
}

/** Machines with addresses and names of their own on one switch, and what runs on them; all of it goes with the test. */
export class Hosts {
  readonly #all = new Map<string, Host>();
  readonly #namespaces: Namespaces[] = [];
  readonly #daemons: Daemon[] = [];
  readonly #mounts: string[] = [];

  private constructor(readonly dir: string) {}

  static async start(t: Test, names: readonly string[]): Promise<Hosts> {
    const hosts = new Hosts(await mkdtemp(join(tmpdir(), "bigfs-hosts-")));
    t.teardown(() => hosts.destroy());
    const hub = await hosts.#make("switch");
    await hub.must("ip link add br0 type bridge && ip link set br0 up");
    await Promise.all(names.map((name, index) => hosts.#add(hub, name, index + 1)));
    return hosts;
  }

  host(name: string): Host {
    const found = this.#all.get(name);
    if (found === undefined) throw new Error(`no host ${name}`);
    return found;
  }

  /** Starts a program there that says in a line on descriptor 3 when it is ready, as daemons do. */
  async daemon(
    host: Host,
    name: string,
    program: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<Daemon> {
    const daemon = await Daemon.start(host, { log: join(this.dir, `${name}.log`), program, args, env });
    this.#daemons.push(daemon);
    return daemon;
  }

  bigfsd(host: Host, name: string, args: readonly string[]): Promise<Daemon> {
    const { dir } = this;
    if (args[0] === "mount") this.#mounts.push(args[1] ?? dir);
    return this.daemon(host, name, process.execPath, [BIN, ...args]);
  }

  async #make(name: string): Promise<Namespaces> {
    const made = await Namespaces.make(name);
    this.#namespaces.push(made);
    return made;
  }

  async #add(hub: Namespaces, name: string, number: number): Promise<void> {
    const own = await this.#make(name);
    const port = `port${number}`;
    await hub.must(
      `ip link add ${port} type veth peer name eth0 netns ${own.pid} && ip link set ${port} master br0 up`,
    );
    await own.must(
      `ip addr add 10.77.0.${number}/24 dev eth0
       ip addr add fd77::${number}/64 dev eth0 nodad
       ip link set eth0 up`,
    );
    const cable = { set: (state: string) => hub.must(`ip link set ${port} ${state}`) };
    this.#all.set(name, new Host(name, number, own, cable));
  }

  async destroy(): Promise<void> {
    for (const mountpoint of this.#mounts) await run("fusermount3", ["-uz", mountpoint]);
    for (const daemon of this.#daemons.reverse()) await daemon.kill();
    for (const namespaces of this.#namespaces) await namespaces.end();
    await rm(this.dir, { recursive: true, force: true });
  }
}

/** A process on a host. */
export class Daemon {
  private constructor(
    private readonly child: ChildProcess,
    private readonly logFile: string,
  ) {}

  /** Rejects with its log when it ends before it is ready. */
  static async start(
    host: Host,
    what: {
      readonly log: string;
      readonly program: string;
      readonly args: readonly string[];
      readonly env: Readonly<Record<string, string>>;
    },
  ): Promise<Daemon> {
    const log = await open(what.log, "a");
    const child = spawn(...host.inside(what.program, what.args), {
      stdio: ["ignore", log.fd, log.fd, "pipe"],
      env: { ...process.env, BIGFS_READY: "1", BIGFS_META: "", BIGFS_KEY: "", ...what.env },
    });
    await log.close();
    const daemon = new Daemon(child, what.log);
    let line = "";
    for await (const part of child.stdio[3] as Readable) {
      line += String(part);
      if (line.includes("\n")) break;
    }
    if (line.includes('"error"') || line === "") {
      await daemon.kill();
      throw new Error(`${host.name}: ${what.args.join(" ")}: ${line}\n${await daemon.log()}`);
    }
    return daemon;
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  log(): Promise<string> {
    return readFile(this.logFile, "utf8");
  }

  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill("SIGKILL");
    await once(this.child, "exit");
  }
}
