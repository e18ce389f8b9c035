import { execFile, spawn } from "node:child_process";
import * as fs from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { test } from "tap";
import { ownMount, type MountProcess } from "../../helpers/mount-process.js";

const run = promisify(execFile);
/** The kernel remembers for ever, unless it is told. */
const FOR_EVER = { attrMs: 1e9, entryMs: 1e9 };

async function untilHeld(server: MountProcess, count: number): Promise<void> {
  while ((await server.ask("held", {})) < count);
}

test("attributes are asked for again after dropAttributes, and only then", async (t) => {
  const [mnt, server] = await ownMount(t, FOR_EVER);
  const path = join(mnt, "file");
  await fs.writeFile(path, "short");
  t.equal((await fs.stat(path)).size, 5);
  await server.ask("rewrite", { path: "file", text: "much longer" });
  t.equal((await fs.stat(path)).size, 5, "the kernel cannot know yet");
  await server.ask("dropAttributes", { path: "file" });
  t.equal((await fs.stat(path)).size, 11);
});

test("an open file shows new content after dropData, and only then", async (t) => {
  const [mnt, server] = await ownMount(t, FOR_EVER);
  const path = join(mnt, "file");
  await fs.writeFile(path, "before");
  const file = await fs.open(path, "r");
  const content = async () => (await file.read(Buffer.alloc(6), 0, 6, 0)).buffer.toString();
  t.equal(await content(), "before");
  await server.ask("rewrite", { path: "file", text: "after!" });
  t.equal(await content(), "before", "the kernel cannot know yet");
  await server.ask("dropData", { path: "file" });
  t.equal(await content(), "after!");
  await file.close();
});

for (const drop of ["dropEntry", "dropAllEntries"] as const) {
  test(`names are looked up again after ${drop}, and only then`, async (t) => {
    const [mnt, server] = await ownMount(t, FOR_EVER);
    const at = (name: string) => join(mnt, name);
    await fs.writeFile(at("old"), "x");
    await t.rejects(fs.stat(at("new")), { code: "ENOENT" });
    await server.ask("renameBehind", { from: "old", into: "new" });
    await fs.stat(at("old"));
    await t.rejects(fs.stat(at("new")), { code: "ENOENT" }, "the kernel cannot know yet");
    if (drop === "dropEntry") {
      await server.ask("dropEntry", { name: "old" });
      await server.ask("dropEntry", { name: "new" });
    } else if (!(await server.ask("dropAllEntries", {}))) {
      t.pass("this kernel has no epochs (Linux 6.16), and says so");
      return;
    }
    await t.rejects(fs.stat(at("old")), { code: "ENOENT" });
    t.equal(await fs.readFile(at("new"), "utf8"), "x");
  });
}

test("what the kernel never heard of can be dropped", async (t) => {
  const [mnt, server] = await ownMount(t, FOR_EVER);
  await server.ask("dropEntry", { name: "never seen" });
  await fs.writeFile(join(mnt, "file"), "");
  await server.ask("dropEntry", { name: "file" });
  await server.ask("dropEntry", { name: "file" });
});

test("who stands in a folder whose name is dropped stays there", async (t) => {
  const [mnt, server] = await ownMount(t, FOR_EVER);
  await fs.mkdir(join(mnt, "folder"));
  const stand = `
import os,sys
os.chdir(sys.argv[1]); print("in", flush=True); sys.stdin.readline()
print(os.getcwd()); open("made","w").close()`;
  const child = run("python3", ["-c", stand, join(mnt, "folder")]);
  await new Promise((resolve) => child.child.stdout?.once("data", resolve));
  await server.ask("dropEntry", { name: "folder", isFolder: true });
  child.child.stdin?.end("\n");
  t.match((await child).stdout, join(mnt, "folder"));
  t.same(await fs.readdir(join(mnt, "folder")), ["made"]);
});

for (const operation of ["create", "lookup", "unlink", "readdir", "rename", "mkdir"] as const) {
  test(`a name is dropped while a ${operation} in its folder is not answered (D31)`, async (t) => {
    const [mnt, server] = await ownMount(t, FOR_EVER);
    const at = (name: string) => join(mnt, name);
    await fs.writeFile(at("other"), "x");
    await fs.writeFile(at("old"), "x");
    await fs.stat(at("other"));
    await server.ask("hold", { operation });
    const asked = {
      create: () => fs.writeFile(at("new"), ""),
      lookup: () => fs.stat(at("nothing")).catch(() => undefined),
      unlink: () => fs.unlink(at("old")),
      readdir: () => fs.readdir(mnt),
      rename: () => fs.rename(at("old"), at("renamed")),
      mkdir: () => fs.mkdir(at("new")),
    }[operation]();
    await untilHeld(server, 1);
    // Without care this waits for the answer that is held, and the answer for this.
    await server.ask("dropEntry", { name: "other" });
    await server.ask("letGo", {});
    await asked;
    const counted = (await server.ask("counts", {}))["lookup"] ?? 0;
    await fs.stat(at("other"));
    t.ok(((await server.ask("counts", {}))["lookup"] ?? 0) > counted, "the name was looked up again");
  });
}

test("names are dropped while 300 files are created in the folder, at full speed", async (t) => {
  const [mnt, server] = await ownMount(t, { ...FOR_EVER, later: true });
  const at = (i: number) => join(mnt, `f${i}`);
  const making = (async () => {
    for (let i = 0; i < 300; i++) {
      await fs.writeFile(at(i), "");
      await fs.stat(at(i));
      if (i % 2 === 0) await fs.unlink(at(i));
    }
  })();
  let done = false;
  void making.finally(() => (done = true));
  while (!done) await Promise.all([1, 2, 3].map((i) => server.ask("dropEntry", { name: `f${i}` })));
  await making;
  t.equal((await fs.readdir(mnt)).length, 150);
});

test("content is dropped while a page of it is being read", async (t) => {
  const [mnt, server] = await ownMount(t, FOR_EVER);
  const path = join(mnt, "file");
  await fs.writeFile(path, "x");
  await server.ask("hold", { operation: "read" });
  const reading = fs.readFile(path, "utf8");
  await untilHeld(server, 1);
  const dropped = server.ask("dropData", { path: "file" });
  const attributes = server.ask("dropAttributes", { path: "file" });
  await attributes;
  await fs.writeFile(join(mnt, "meanwhile"), "");
  await server.ask("letGo", {});
  await dropped;
  t.equal(await reading, "x");
});

/**
 * Lists a folder into memory that is not there: the kernel stands in the middle of taking an answer in, with the folder's
 * lock, until a line is read. (userfaultfd(2), numbers of x86-64.)
 */
const STUCK_LISTING = `
import ctypes, fcntl, mmap, os, struct, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
fault = libc.syscall(323, os.O_CLOEXEC)
fcntl.ioctl(fault, 0xC018AA3F, bytearray(struct.pack("QQQ", 0xAA, 0, 0)))
memory = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
at = ctypes.addressof(ctypes.c_char.from_buffer(memory))
fcntl.ioctl(fault, 0xC020AA00, bytearray(struct.pack("QQQQ", at, 4096, 1, 0)))
folder = os.open(sys.argv[1], os.O_RDONLY)
listing = threading.Thread(target=lambda: libc.syscall(217, folder, ctypes.c_void_p(at), 4096))
listing.start()
os.read(fault, 32)
print("stuck", flush=True)
sys.stdin.readline()
fcntl.ioctl(fault, 0xC020AA04, bytearray(struct.pack("QQQq", at, 4096, 0, 0)))
listing.join()
print("listed", flush=True)
sys.stdin.readline()
`;

for (const drop of ["dropEntry", "dropAllEntries"] as const) {
  test(`a name that the kernel takes in from a listing that was answered before ${drop} does not stay`, async (t) => {
    const [mnt, server] = await ownMount(t, FOR_EVER);
    const at = (name: string) => join(mnt, name);
    for (const name of ["a", "old"]) await fs.writeFile(at(name), name);
    await server.ask("dropAllEntries", {});
    const listing = spawn("python3", ["-c", STUCK_LISTING, mnt], { stdio: ["pipe", "pipe", "inherit"] });
    t.teardown(() => listing.kill("SIGKILL"));
    const lines = createInterface(listing.stdout)[Symbol.asyncIterator]();
    t.equal((await lines.next()).value, "stuck");
    await server.ask("renameBehind", { from: "old", into: "a" });
    // Another request makes the folder busy: nobody can wait for its lock.
    await server.ask("hold", { operation: "lookup" });
    const looking = fs.stat(at("nothing")).catch(() => undefined);
    await untilHeld(server, 1);
    if (drop === "dropEntry") await server.ask("dropEntry", { name: "a" });
    else await server.ask("dropAllEntries", {});
    await server.ask("letGo", {});
    await looking;
    listing.stdin.write("\n");
    t.equal((await lines.next()).value, "listed");
    // The listing had the lock until now; the kernel forgets when it has given it up.
    while ((await fs.readFile(at("a"), "utf8").catch(() => "a")) !== "old");
    t.pass("the name leads to what it leads to now");
    listing.stdin.end();
  });
}
