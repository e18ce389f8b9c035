import { mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import root, { test } from "tap";
import { Agent } from "../helpers/agent.js";
import { isAlive } from "../../daemon/cli/cluster-file.js";
import { TestCluster, bigfsd, gone, serverOf } from "../helpers/cluster.js";
import { packageRoot } from "../helpers/package-root.js";
import { must, run, sh } from "../helpers/run.js";
import { shared } from "../helpers/shared.js";
import { until } from "../helpers/until.js";

/** No death of a mount process follows soon after another. */
const PATIENT = ["--storage", "2", "--deadline", "steadyMs=1", "--deadline", "restartMs=1"];

const patient = shared(() => TestCluster.start(root, PATIENT));
const plain = shared(() => TestCluster.start(root, ["--storage", "2"]));

/** kill -9 of the process that serves the mount. */
async function crash(supervisor: number): Promise<void> {
  const pid = await serverOf(supervisor);
  process.kill(pid, "SIGKILL");
  await gone(pid);
}

const ready = async (supervisor: number, log: string): Promise<void> => {
  const pid = await serverOf(supervisor);
  await until(async () => (await readFile(log, "utf8")).includes(`"pid":${pid},"name":"mount","listen"`));
};

test("what programs have open survives a mount process that is killed", async (t) => {
  const cluster = await patient();
  const { pid } = await cluster.member("mount");
  const at = (name: string) => join(cluster.mnt, name);
  const program = new Agent(t);
  const does = async (line: string, value: unknown = null) => t.same(await program.ask(line), { value }, line);
  const fails = async (line: string, errno: string) => t.same(await program.ask(line), { errno }, line);

  await t.test("a reader goes on, and what it reads is right", async () => {
    await sh(`head -c 3000000 /dev/urandom | tee ${cluster.dir}/copy > ${at("big")}`);
    await does(`read = os.open("${at("big")}", os.O_RDONLY)`);
    await does(`copy = os.open("${cluster.dir}/copy", os.O_RDONLY)`);
    await does("os.read(read, 1000) == os.read(copy, 1000)", 1);
    await crash(pid);
    await does("os.posix_fadvise(read, 0, 0, os.POSIX_FADV_DONTNEED)");
    await does("os.pread(read, 3000000, 0) == os.pread(copy, 3000000, 0)", 1);
    await does("os.fstat(read).st_size", 3_000_000);
    await does("os.close(read)");
  });

  await t.test("a writer hears EIO once, and goes on; what it had fsynced is there", async () => {
    await does(`write = os.open("${at("written")}", os.O_RDWR | os.O_CREAT)`);
    await does(`other = os.open("${at("written")}", os.O_RDWR)`);
    await does('os.write(write, b"synced,")', 7);
    await does("os.fsync(write)");
    await does('os.write(write, b"not synced,")', 11);
    await crash(pid);
    await fails('os.write(write, b"refused")', "EIO");
    await does('os.pwrite(write, b"after", 7)', 5);
    await does("os.fsync(write)");
    await fails("os.fsync(other)", "EIO");
    await does("os.close(other)");
    await does("os.close(write)");
    t.match(await readFile(at("written"), "latin1"), /^synced,after/);
  });

  await t.test("bytes that were lost are not read any more", async () => {
    await writeFile(at("lost"), "stored");
    await does(`write = os.open("${at("lost")}", os.O_RDWR)`);
    await does(`read = os.open("${at("lost")}", os.O_RDONLY)`);
    await does("os.pread(read, 6, 0)", "b'stored'");
    // It goes to the kernel's page, too; nobody asks for the times in between, by which the kernel would know.
    await does('os.write(write, b"ABC")', 3);
    await crash(pid);
    await does("os.pread(read, 6, 0)", "b'stored'");
    await does("os.close(read)");
    await fails("os.close(write)", "EIO");
  });

  await t.test("a handle of a file that had locks is dead, a new one is not", async () => {
    await writeFile(at("locked"), "content");
    await does(`locked = os.open("${at("locked")}", os.O_RDWR)`);
    await does("fcntl.lockf(locked, fcntl.LOCK_EX)");
    await crash(pid);
    await fails('os.write(locked, b"x")', "EIO");
    await fails('os.write(locked, b"x")', "EIO");
    await fails("os.pread(locked, 1, 0)", "EIO");
    await fails("os.close(locked)", "EIO");
    await does(`locked = os.open("${at("locked")}", os.O_RDWR)`);
    await does("fcntl.lockf(locked, fcntl.LOCK_EX)");
    await does("os.close(locked)");
  });

  await t.test("a shell stays in its folder, and a listing goes on where it was", async () => {
    await mkdir(at("many"));
    await sh(`cd ${at("many")} && seq -f 'a-name-that-takes-some-room-%g' 3000 | xargs touch`);
    await does(`os.chdir("${at("many")}")`);
    await does("listing = os.scandir('.')");
    await does("seen = [next(listing).name for _ in range(100)]");
    await crash(pid);
    await does("seen += [entry.name for entry in listing]");
    await does("len(seen)", 3000);
    await does("len(set(seen))", 3000);
    await does("os.getcwd()", at("many"));
    await does("os.mkdir('made')");
    await does("len(os.listdir('.'))", 3001);
    await does("os.chdir('/')");
  });

  await t.test("that changes of names may be lost is told to each who syncs a folder, once", async () => {
    await does(`folder = os.open("${cluster.mnt}", os.O_RDONLY)`);
    await does(`another = os.open("${cluster.mnt}", os.O_RDONLY)`);
    await crash(pid);
    for (const handle of ["folder", "another"]) {
      await fails(`os.fsync(${handle})`, "EIO");
      await does(`os.fsync(${handle})`);
      await does(`os.close(${handle})`);
    }
  });

  await t.test("a file that had no name any more is gone, and says so", async () => {
    await does(`unnamed = os.open("${at("unnamed")}", os.O_RDWR | os.O_CREAT)`);
    await does('os.write(unnamed, b"content")', 7);
    await does("os.fsync(unnamed)");
    await does(`os.unlink("${at("unnamed")}")`);
    await crash(pid);
    await fails("os.fsync(unnamed)", "ESTALE");
    await fails("os.close(unnamed)", "ESTALE");
  });

  await cluster.staysSmall(t);
});

test("what a dead mount process had the kernel cache is taken back when another mount changes it", async (t) => {
  const cluster = await patient();
  const second = await cluster.mountAgain("second");
  const { pid } = await cluster.member("mount");
  await writeFile(join(cluster.mnt, "f"), "content");
  const program = new Agent(t);
  t.same(await program.ask(`fd = os.open("${join(cluster.mnt, "f")}", os.O_RDONLY)`), { value: null });
  t.same(await program.ask("os.fstat(fd).st_size"), { value: 7 });
  await crash(pid);
  await ready(pid, join(cluster.data, "log", "mount.log"));
  await writeFile(join(second, "f"), "other content");
  t.same(await program.ask("os.fstat(fd).st_size"), { value: 13 });
  t.same(await program.ask("os.pread(fd, 100, 0)"), { value: "b'other content'" });
  await must("umount", [second]);
});

test("a read that waits for a storage daemon is answered by the process that takes over", async (t) => {
  const cluster = await patient();
  await sh(`head -c 3000000 /dev/urandom > ${join(cluster.mnt, "big")}`);
  const [mnt, log] = [join(cluster.dir, "third"), join(cluster.dir, "third.log")];
  await mkdir(mnt);
  const args = ["mount", mnt, "--data", cluster.data, "--log", log, "--no-short-circuit", "--json"];
  const mounted = await bigfsd([...args, ...PATIENT.slice(2)]);
  t.teardown(() => bigfsd(["umount", mnt]));
  const { pid } = JSON.parse(mounted.stdout) as { pid: number };
  const program = new Agent(t);
  t.same(await program.ask(`fd = os.open("${join(mnt, "big")}", os.O_RDONLY)`), { value: null });
  const stores = await Promise.all(["store1", "store2"].map((name) => cluster.member(name)));
  for (const store of stores) process.kill(store.pid, "SIGSTOP");
  t.teardown(() => stores.filter(isAlive).forEach((store) => process.kill(store.pid, "SIGCONT")));
  const reading = program.ask("len(os.pread(fd, 3000000, 0))");
  // It waits for a page.
  await until(async () => /\) D /.test(await readFile(`/proc/${program.pid}/stat`, "latin1")));
  await crash(pid);
  await ready(pid, log);
  for (const store of stores) process.kill(store.pid, "SIGCONT");
  t.same(await reading, { value: 3_000_000 });
});

test("programs that read, write and copy while the mount process is killed again and again", async (t) => {
  const cluster = await patient();
  const { pid } = await cluster.member("mount");
  const at = (name: string) => join(cluster.mnt, name);
  await sh(`head -c 5000000 /dev/urandom | tee ${cluster.dir}/copy-of-read > ${at("read")}`);
  const stop = join(cluster.dir, "stop");
  const reader = `
import os, sys
whole = open(sys.argv[2], "rb").read()
fd = os.open(sys.argv[1], os.O_RDONLY)
while not os.path.exists(sys.argv[3]):
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    assert os.pread(fd, len(whole), 0) == whole`;
  const writer = `
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
synced, refused = 0, 0
while not os.path.exists(sys.argv[3]):
    try:
        os.pwrite(fd, b"%07d\\n" % synced, synced * 8)
        os.fsync(fd)
        synced += 1
    except OSError as error:
        assert error.errno == 5, error
        refused += 1
print(synced, refused)`;
  const start = (program: string, name: string) =>
    run("python3", ["-c", program, at(name), join(cluster.dir, "copy-of-read"), stop], { timeout: 120_000 });
  const reading = start(reader, "read");
  const writing = start(writer, "numbers");
  const tree = join(packageRoot, "node_modules", "zod");
  const copying = run("cp", ["-a", tree, at("copied")]);
  const lines = async () => Number((await run("wc", ["-l", at("numbers")])).stdout.split(" ")[0]);
  for (let times = 1; times <= 3; times++) {
    const before = await lines();
    await until(async () => (await lines()) > before);
    await crash(pid);
  }
  const copied = await copying;
  t.match(copied.stderr, copied.code === 0 ? /^$/ : /Input\/output error/, "a copy hears of it, or nothing was lost");
  await writeFile(stop, "");
  t.match(await reading, { code: 0, stderr: "" });
  const wrote = await writing;
  t.match(wrote, { code: 0, stderr: "" });
  const [synced = 0, refused = 0] = wrote.stdout.split(" ").map(Number);
  t.ok(refused <= 3, `once for each death at most: ${refused}`);
  const found = (await readFile(at("numbers"), "latin1")).split("\n").slice(0, synced);
  t.same(
    found,
    Array.from({ length: synced }, (_, n) => String(n).padStart(7, "0")),
  );
  await must("rm", ["-rf", at("copied")]);
  await must("cp", ["-a", tree, at("copied")]);
  t.equal((await run("diff", ["-r", "--no-dereference", tree, at("copied")])).stdout, "");
});

test("a mount whose process dies again and again is given up, and nobody hangs", async (t) => {
  const cluster = await TestCluster.start(t, ["--storage", "2", "--deadline", "restartMs=1"]);
  const member = await cluster.member("mount");
  const program = new Agent(t);
  t.same(await program.ask(`os.chdir("${cluster.mnt}")`), { value: null });
  for (;;) {
    const server = await serverOf(member.pid).catch(() => undefined);
    if (server === undefined) break;
    process.kill(server, "SIGKILL");
    await gone(server);
  }
  t.match(await program.ask("os.listdir('.')"), { errno: /ENOTCONN|ECONNABORTED/ });
  t.equal((await run("mountpoint", ["-q", cluster.mnt])).code, 32, "it is unmounted");
  const log = await readFile(join(cluster.data, "log", "mount.log"), "utf8");
  t.equal(log.match(/another one takes over/g)?.length, 5);
  t.match(log, /dies again and again/);
  await cluster.up();
  t.same(await readdir(cluster.mnt), []);
});

test("a mount ends in order with its supervisor, and its supervisor with it", async (t) => {
  const cluster = await plain();
  const at = (name: string) => join(cluster.mnt, name);
  const program = new Agent(t);
  const write = async (name: string) => {
    t.same(await program.ask(`fd = os.open("${at(name)}", os.O_RDWR | os.O_CREAT)`), { value: null });
    t.same(await program.ask('os.write(fd, b"written and not stored")'), { value: 22 });
  };
  for (const [name, end] of [
    ["kill -9 of the supervisor", (supervisor: number) => process.kill(supervisor, "SIGKILL")],
    ["SIGTERM to the supervisor", (supervisor: number) => process.kill(supervisor, "SIGTERM")],
    ["SIGTERM to the mount process", (_supervisor: number, server: number) => process.kill(server, "SIGTERM")],
  ] as const) {
    const { pid } = await cluster.member("mount");
    const server = await serverOf(pid);
    await write("file");
    end(pid, server);
    await gone(server);
    await gone(pid);
    t.equal((await run("mountpoint", ["-q", cluster.mnt])).code, 32, `${name}: it is unmounted`);
    await cluster.up();
    t.equal(await readFile(at("file"), "latin1"), "written and not stored", `${name}: nothing is lost`);
    await must("rm", [at("file")]);
  }
});

test("a mount process that dies while the metadata daemon is away is followed by one that waits for it", async (t) => {
  const cluster = await patient();
  const { pid } = await cluster.member("mount");
  await writeFile(join(cluster.mnt, "away"), "content");
  const program = new Agent(t);
  t.same(await program.ask(`fd = os.open("${join(cluster.mnt, "away")}", os.O_RDONLY)`), { value: null });
  await cluster.kill("meta");
  await crash(pid);
  const reading = program.ask("os.pread(fd, 100, 0)");
  await ready(pid, join(cluster.data, "log", "mount.log"));
  await cluster.up();
  t.same(await reading, { value: "b'content'" });
  t.equal((await cluster.member("mount")).pid, pid, "it is still the same mount");
  t.same(await program.ask("os.close(fd)"), { value: null });
  await cluster.down();
});

test("SIGTERM while the metadata daemon is away: what was written is stored when it is back", async (t) => {
  const cluster = await plain();
  const { pid } = await cluster.member("mount");
  const program = new Agent(t);
  t.same(await program.ask(`fd = os.open("${join(cluster.mnt, "f")}", os.O_RDWR | os.O_CREAT)`), { value: null });
  t.same(await program.ask("os.write(fd, b'x' * 100000)"), { value: 100_000 });
  await cluster.kill("meta");
  process.kill(pid, "SIGTERM");
  await until(async () => (await run("mountpoint", ["-q", cluster.mnt])).code !== 0);
  await cluster.up();
  await gone(pid);
  await cluster.up();
  t.equal(await readFile(join(cluster.mnt, "f"), "latin1"), "x".repeat(100_000));
});

test("after kill -9 of supervisor and mount process, the next mount cleans up", async (t) => {
  const cluster = await plain();
  const program = new Agent(t);
  t.same(await program.ask(`os.chdir("${cluster.mnt}")`), { value: null });
  await cluster.kill("mount");
  t.match(await program.ask("os.listdir('.')"), { errno: /ENOTCONN|ECONNABORTED/ });
  const log = join(cluster.dir, "log");
  t.match(await bigfsd(["mount", cluster.mnt, "--data", cluster.data, "--log", log]), { code: 0, stderr: "" });
  await writeFile(join(cluster.mnt, "f"), "works");
  t.equal(await readFile(join(cluster.mnt, "f"), "latin1"), "works");
  t.match(await bigfsd(["umount", cluster.mnt]), { code: 0, stderr: "" });
});
