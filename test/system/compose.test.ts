import { chmod, mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { readCompose, volumesOf, type Service } from "../helpers/compose.js";
import { Hosts, noHosts, type Daemon, type Host } from "../helpers/hosts.js";
import { packageRoot } from "../helpers/package-root.js";

/** What is in a container and not outside: names of the others, volumes, and bigfsd on the path. Of the test's own. */
const CONTAINER = `
mount --bind "$1/hosts" /etc/hosts
for dir in /var/lib /run /mnt; do mount -t tmpfs none "$dir"; done
export PATH="$1/bin:$PATH"
shift
while [ "$1" != -- ]; do mkdir -p "$2"; mount --bind "$1" "$2"; shift 2; done
shift
exec "$@"`;

/** Runs services as a container engine would, each on a host of its own with the names, volumes and words of the file. */
class Engine {
  constructor(
    private readonly hosts: Hosts,
    private readonly services: Readonly<Record<string, Service>>,
  ) {}

  async prepare(): Promise<void> {
    const names = Object.keys(this.services).map((name) => `${this.hosts.host(name).ip} ${name}\n`);
    await writeFile(join(this.hosts.dir, "hosts"), `127.0.0.1 localhost\n${names.join("")}`);
    await mkdir(join(this.hosts.dir, "bin"));
    const bin = join(packageRoot, "dist", "daemon", "cli", "bin.js");
    await symlink(bin, join(this.hosts.dir, "bin", "bigfsd"));
  }

  /** The host, program and arguments that a service is. */
  async #container(name: string): Promise<[Host, string, string[], Record<string, string>]> {
    const service = this.services[name];
    if (service === undefined) throw new Error(`no service ${name}`);
    const { entrypoint = ["bigfsd"], command, environment } = service;
    const volumes: string[] = [];
    for (const { source, target } of volumesOf(service)) {
      const own = join(this.hosts.dir, "volumes", source.replace(/\W/g, "_"));
      await mkdir(own, { recursive: true });
      await chmod(own, 0o700);
      volumes.push(own, target);
    }
    const script = ["-euc", CONTAINER, "sh", this.hosts.dir, ...volumes, "--"];
    const args = ["--mount", "--", "sh", ...script, ...entrypoint, ...command];
    return [this.hosts.host(name), "unshare", args, environment];
  }

  async run(name: string): Promise<{ code: number; stderr: string }> {
    const [host, program, args, env] = await this.#container(name);
    return host.run(program, args, env);
  }

  async start(name: string): Promise<Daemon> {
    const [host, program, args, env] = await this.#container(name);
    return this.hosts.daemon(host, name, program, args, env);
  }
}

test("the cluster of compose.yaml, without an engine", { skip: await noHosts() }, async (t) => {
  const { services, volumes } = await readCompose(join(packageRoot, "packaging", "compose.yaml"));
  const names = Object.keys(services);
  const hosts = await Hosts.start(t, names);
  const engine = new Engine(hosts, services);
  await engine.prepare();

  for (const [name, service] of Object.entries(services)) {
    if (service.hostname !== undefined) t.equal(service.hostname, name, "the name that others call it by");
    const named = service.volumes.flatMap((volume) => (typeof volume === "string" ? [volume.split(":")[0] ?? ""] : []));
    for (const volume of named) t.ok(volume in volumes, `volume ${volume} is declared`);
    for (const other of Object.keys(service.depends_on)) t.ok(other in services, `service ${other} is there`);
  }

  t.match(await engine.run("key"), { code: 0, stderr: "" });
  t.match(await engine.run("key"), { code: 0, stderr: "" }, "a second 'up' leaves the key");
  await engine.start("meta");
  await Promise.all(names.filter((name) => name.startsWith("store")).map((name) => engine.start(name)));
  const mount = await engine.start("mount");
  const exec = (line: string) =>
    hosts.host("mount").run("nsenter", ["--target", `${mount.pid}`, "--mount", "sh", "-euc", line]);
  t.match(await exec("head -c 5000000 /dev/zero > /mnt/bigfs/file && wc -c < /mnt/bigfs/file"), {
    code: 0,
    stdout: "5000000\n",
  });
  const env = services["mount"]?.environment ?? {};
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const status = await exec(`env ${variables.join(" ")} ${hosts.dir}/bin/bigfsd node ls`);
  t.equal(status.code, 0, status.stderr);
  for (const name of ["store1", "store2", "store3"]) {
    t.match(status.stdout, new RegExp(`${name}:50051 +${name}:50051 +${name} +UP`), `${name} is in a zone of its own`);
  }
});
