import { appendFile, cp, mkdir, readFile, rename, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type Test } from "tap";
import { SCHEMAS } from "../../daemon/cli/schemas.js";
import { Agent } from "../helpers/agent.js";
import { TestCluster, gone, serverOf } from "../helpers/cluster.js";
import { packageRoot } from "../helpers/package-root.js";
import { must, run } from "../helpers/run.js";
import { deadlineOptions } from "../helpers/short-deadlines.js";

/** A build of BigFS in a folder of its own, in whose place another one can be put. */
class Build {
  private constructor(readonly root: string) {}

  static async make(root: string): Promise<Build> {
    await mkdir(root);
    for (const name of ["node_modules", "mount"]) await symlink(join(packageRoot, name), join(root, name));
    for (const name of ["package.json", "dist"])
      await cp(join(packageRoot, name), join(root, name), { recursive: true });
    return new Build(root);
  }

  get #dist(): string {
    return join(this.root, "dist");
  }

  get bin(): string {
    return join(this.#dist, "daemon/cli/bin.js");
  }

  /** Processes of the newer build, by the id of each. */
  async newer(): Promise<number[]> {
    const text = await readFile(join(this.root, "newer"), "utf8").catch(() => "");
    return text.split("\n").filter(Boolean).map(Number);
  }

  /** Puts a newer build here at once, as an administrator does; `change` makes it different. */
  async replace(change: (dist: string) => Promise<void> = () => Promise.resolve()): Promise<void> {
    const next = join(this.root, "dist.next");
    await cp(this.#dist, next, { recursive: true });
    const says = `fs.appendFileSync(${JSON.stringify(join(this.root, "newer"))}, process.pid + "\\n");`;
    await appendFile(join(next, "daemon/cli/keeper.js"), `\nimport fs from "node:fs";\n${says}\n`);
    await change(next);
    await rename(this.#dist, join(this.root, "dist.before"));
    await rename(next, this.#dist);
  }
}

/** A cluster, a mount of it by a build of its own, and a program that uses it. */
async function mounted(t: Test) {
  const cluster = await TestCluster.start(t, ["--storage", "2"]);
  const build = await Build.make(join(cluster.dir, "build"));
  const mnt = join(cluster.dir, "upgraded");
  const log = join(cluster.dir, "upgraded.log");
  await mkdir(mnt);
  const args = ["--data", cluster.data, "--log", log, "--json", ...deadlineOptions({ restartMs: 1 })];
  const said = await must(process.execPath, [build.bin, "mount", mnt, ...args]);
  const { pid: supervisor } = SCHEMAS.mount.parse(JSON.parse(said));
  t.teardown(async () => {
    await run("fusermount3", ["-uz", mnt]);
    await gone(supervisor);
  });
  const program = new Agent(t);
  const does = async (line: string, value: unknown = null) => t.same(await program.ask(line), { value }, line);
  return { cluster, build, mnt, log, supervisor, program, does };
}

/** The process that serves the mount ends as by a bug, and the supervisor starts what stands there now. */
async function end(supervisor: number): Promise<void> {
  const server = await serverOf(supervisor);
  process.kill(server, "SIGKILL");
  await gone(server);
}

test("a mount goes over to a newer build under open files and unsaved pages: programs go on or are told (D18)", async (t) => {
  const { cluster, build, mnt, supervisor, program, does } = await mounted(t);
  await does(`path = lambda name: "${mnt}/" + name`);
  await does('data = os.urandom(3 << 20); w = open(path("big"), "wb"); _ = w.write(data); w.close()');
  await does('reader = os.open(path("big"), os.O_RDONLY); seen = os.read(reader, 1000)');
  await does('synced = os.open(path("synced"), os.O_RDWR | os.O_CREAT); _ = os.write(synced, b"synced,")');
  await does('os.fsync(synced); _ = os.write(synced, b"not synced")');
  await does('mapped = os.open(path("mapped"), os.O_RDWR | os.O_CREAT); _ = os.write(mapped, bytes(8192))');
  await does("os.fsync(mapped); pages = mmap.mmap(mapped, 8192); pages[0:5] = b'saved'; pages.flush()");
  await does("pages[4096:4101] = b'later'");
  await build.replace();
  await end(supervisor);

  await does("seen += os.read(reader, 4 << 20)");
  await does("seen == data", true);
  t.same(await build.newer(), [await serverOf(supervisor)], "what serves now is the newer build");
  t.same(await program.ask('os.write(synced, b"refused")'), { errno: "EIO" }, "who had unsaved bytes is told, once");
  await does('os.pwrite(synced, b"after", 7)', 5);
  await does("os.fsync(synced)");
  const flushed = [await program.ask("pages.flush()"), await program.ask("os.fsync(mapped)")];
  const isTold = flushed.some((outcome) => "errno" in outcome && outcome.errno === "EIO");
  await does("os.close(mapped)");
  const second = await cluster.mountAgain("second");
  t.match(await readFile(join(second, "synced"), "latin1"), /^synced,after/);
  const pages = await readFile(join(second, "mapped"), "latin1");
  t.equal(pages.slice(0, 5), "saved");
  t.ok(isTold || pages.slice(4096, 4101) === "later", "of a page that was not saved somebody is told");
  await does("os.close(reader); os.close(synced)");
  await writeFile(join(second, "new"), "x");
  await does('open(path("new")).read()', "x");
});

test("where the newer build cannot take over, the mount is given up and programs are told (D18)", async (t) => {
  const { cluster, build, mnt, log, supervisor, program, does } = await mounted(t);
  await does(`fd = os.open("${mnt}/f", os.O_RDWR | os.O_CREAT); _ = os.write(fd, b"synced"); os.fsync(fd)`);
  // It expects to be left what the older one does not know of.
  await build.replace(async (dist) => {
    const path = join(dist, "mount/estate.js");
    const text = await readFile(path, "utf8");
    await writeFile(path, text.replace("locked: z.array", "later: z.number(),\n    locked: z.array"));
  });
  await end(supervisor);
  t.match(await program.ask("os.fsync(fd)"), { errno: /^(ENOTCONN|ECONNABORTED)$/ });
  await gone(supervisor);
  t.match(await readFile(log, "utf8"), /dies again and again: unmounting/);
  t.equal((await run("mountpoint", ["-q", mnt])).code, 32);
  t.equal(await readFile(join(cluster.mnt, "f"), "latin1"), "synced");
});
