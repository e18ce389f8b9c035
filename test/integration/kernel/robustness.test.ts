import { execFile } from "node:child_process";
import * as fs from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { test } from "tap";
import { ownMount } from "../../helpers/mount-process.js";

const run = promisify(execFile);

for (const later of [false, true]) {
  test(`a handler that throws gives EIO, and the mount lives (${later ? "late" : "at once"})`, async (t) => {
    const [mnt, server] = await ownMount(t, { later, attrMs: 0, entryMs: 0 });
    const path = join(mnt, "file");
    await fs.writeFile(path, "content");
    const attempts: Record<string, () => Promise<unknown>> = {
      lookup: () => fs.stat(path),
      getattr: () => fs.stat(mnt),
      readdir: () => fs.readdir(mnt),
      open: () => fs.readFile(path),
      create: () => fs.writeFile(join(mnt, "new"), ""),
      mkdir: () => fs.mkdir(join(mnt, "dir")),
      unlink: () => fs.unlink(path),
      rename: () => fs.rename(path, join(mnt, "to")),
      setattr: () => fs.chmod(path, 0o600),
      flush: async () => {
        const file = await fs.open(path, "r+");
        await file.close();
      },
      statfs: () => fs.statfs(mnt),
    };
    for (const [operation, attempt] of Object.entries(attempts)) {
      await server.ask("break", { operation });
      await t.rejects(async () => void (await attempt()), { code: "EIO" }, operation);
      await server.ask("mend", {});
      t.equal(await fs.readFile(path, "utf8"), "content");
    }
    t.equal((await server.ask("counts", {}))["open:EIO"], 1, "the hook was told");
  });
}

test("a signal does not make a healthy close fail", async (t) => {
  const [mnt, server] = await ownMount(t);
  await server.ask("hold", { operation: "flush" });
  const close = `
import os,signal,sys
signal.signal(signal.SIGALRM, lambda *a: print("signal", flush=True))
f=os.open(sys.argv[1],os.O_CREAT|os.O_WRONLY); os.write(f,b"x")
print("closing", flush=True)
signal.setitimer(signal.ITIMER_REAL,0.05,0.05); os.close(f); signal.setitimer(signal.ITIMER_REAL,0); print("closed")`;
  const child = run("python3", ["-c", close, join(mnt, "file")]);
  while ((await server.ask("held", {})) < 1);
  // The signal has come while the close waits; the kernel tells of it before it asks anything else.
  const pending = async () =>
    /^ShdPnd:\t0*[1-9a-f]/m.test(await fs.readFile(`/proc/${child.child.pid ?? 0}/status`, "utf8"));
  while (!(await pending()));
  await fs.stat(join(mnt, "nothing")).catch(() => undefined);
  await server.ask("letGo", {});
  const { stdout } = await child;
  t.match(stdout, /closing\n(signal\n)*closed\n/);
  t.match(stdout, /signal/);
});

test("a killed program does not disturb the others, and what it had open is released", async (t) => {
  const [mnt, server] = await ownMount(t);
  await server.ask("hold", { operation: "create" });
  const child = run("python3", ["-c", `open("${mnt}/file","w")`]);
  while ((await server.ask("held", {})) < 1);
  child.child.kill("SIGKILL");
  await server.ask("letGo", {});
  await t.rejects(child);
  while ((await server.ask("census", {})).handles > 0) await fs.stat(mnt);
  await fs.writeFile(join(mnt, "other"), "fine");
  t.equal(await fs.readFile(join(mnt, "other"), "utf8"), "fine");
});

test("what BigFS does not have is refused properly: ioctl ENOTTY, collapsing a range EOPNOTSUPP", async (t) => {
  const [mnt] = await ownMount(t);
  const script = `
import ctypes,errno,fcntl,os,sys
libc=ctypes.CDLL(None,use_errno=True)
def collapse(fd):
    if libc.fallocate(fd,8,ctypes.c_long(0),ctypes.c_long(4096))<0: raise OSError(ctypes.get_errno(),"")
def err(f):
    try: return f()
    except OSError as e: return errno.errorcode[e.errno]
f=os.open(sys.argv[1]+"/file",os.O_CREAT|os.O_RDWR)
print(err(lambda: fcntl.ioctl(f,0x5401,b"x"*64)), err(lambda: collapse(f)))
fcntl.flock(f,fcntl.LOCK_EX); fcntl.lockf(f,fcntl.LOCK_EX); print("locked")`;
  t.equal((await run("python3", ["-c", script, mnt])).stdout.trim(), "ENOTTY ENOTSUP\nlocked");
});

test("a read-only mount refuses changes", async (t) => {
  const [mnt] = await ownMount(t, { readOnly: true });
  await t.rejects(fs.writeFile(join(mnt, "file"), ""), { code: "EROFS" });
  t.same(await fs.readdir(mnt), []);
});
