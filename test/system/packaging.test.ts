import { access, cp, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test, type Test } from "tap";
import { packageRoot } from "../helpers/package-root.js";
import { must, run } from "../helpers/run.js";

const SYSTEMD = join(packageRoot, "packaging", "systemd");
const BIN = join(packageRoot, "dist", "daemon", "cli", "bin.js");
const hasSystemd = (await run("systemd-analyze", ["--version"])).code === 0;

async function ownFolder(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "bigfs-packaging-"));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

/** NAME=VALUE lines, values in double quotes or not. */
async function environmentOf(file: string): Promise<Map<string, string>> {
  const lines = (await readFile(file, "utf8")).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(
    lines.map((line) => {
      const [, name = "", value = ""] = /^(\w+)="?([^"]*)"?$/.exec(line) ?? [];
      return [name, value];
    }),
  );
}

test("the commands of the systemd units are ones that bigfsd knows", async (t) => {
  const env = await environmentOf(join(SYSTEMD, "bigfs.env"));
  const units = (await readdir(SYSTEMD)).filter((name) => name.endsWith(".service"));
  t.same(units.sort(), ["bigfs-meta.service", "bigfs-mount@.service", "bigfs-store.service"]);
  for (const unit of units) {
    const text = await readFile(join(SYSTEMD, unit), "utf8");
    const [, line = ""] = /^ExecStart=\/usr\/local\/bin\/bigfsd (.*)$/m.exec(text) ?? [];
    // As systemd does it: a variable becomes the words that are in it.
    const words = line.split(" ").flatMap((word) => {
      if (word === "%f") return ["/mnt/bigfs"];
      return word.startsWith("$") ? (env.get(word.slice(1)) ?? `no ${word}`).split(" ") : [word];
    });
    const outcome = await run(process.execPath, [BIN, ...words], {
      env: { BIGFS_META: env.get("BIGFS_META") ?? "", BIGFS_KEY: "/nonexistent/cluster.key" },
    });
    t.match(outcome, { code: 1, stderr: "cannot read the cluster key /nonexistent/cluster.key" }, words.join(" "));
  }
});

test("the units fit what they come with", async (t) => {
  const users = await readFile(join(SYSTEMD, "bigfs.sysusers"), "utf8");
  for (const role of ["meta", "store"]) {
    const text = await readFile(join(SYSTEMD, `bigfs-${role}.service`), "utf8");
    const value = (name: string) => new RegExp(`^${name}=(.*)$`, "m").exec(text)?.[1];
    t.match(users, new RegExp(`^u ${value("User")} `, "m"));
    t.equal(value("RequiresMountsFor"), `/var/lib/${value("StateDirectory")}`);
    t.match(value("ExecStart"), `--data /var/lib/${value("StateDirectory")} `);
  }
  const mount = await readFile(join(SYSTEMD, "bigfs-mount@.service"), "utf8");
  t.notMatch(mount, /^(Protect|Private|ReadOnly|ReadWrite|Inaccessible|Bind|Temporary)\w*=/m, "no mounts of its own");
});

const noSystemd = hasSystemd ? false : "systemd-analyze is not installed (Debian: systemd)";
test("systemd finds nothing wrong with the units", { skip: noSystemd }, async (t) => {
  const dir = await ownFolder(t);
  const names = (await readdir(SYSTEMD)).filter((name) => name.endsWith(".service"));
  for (const name of names) {
    // It looks whether programs are there.
    const text = (await readFile(join(SYSTEMD, name), "utf8")).replaceAll("/usr/local/bin/bigfsd", BIN);
    await writeFile(join(dir, name.replace("@.", "@mnt-bigfs.")), text);
  }
  const files = (await readdir(dir)).map((name) => join(dir, name));
  const { code, stdout, stderr } = await run("systemd-analyze", ["verify", "--man=no", ...files]);
  const ours = `${stdout}${stderr}`.split("\n").filter((line) => line.includes("bigfs"));
  t.same({ code, ours }, { code: 0, ours: [] });
});

test("a daemon tells systemd when it serves", { skip: noSystemd }, async (t) => {
  const dir = await ownFolder(t);
  const script = `
    import os, signal, socket, subprocess, sys
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(sys.argv[1])
    daemon = subprocess.Popen(sys.argv[2:], env={**os.environ, "NOTIFY_SOCKET": sys.argv[1]})
    words = ""
    while "READY=1" not in words: words = told.recv(4096).decode()
    daemon.send_signal(signal.SIGTERM)
    print(words, daemon.wait())`.replaceAll("\n    ", "\n");
  await must(process.execPath, [BIN, "key", join(dir, "key")]);
  const meta = [BIN, "meta", "--data", join(dir, "meta"), "--listen", "127.0.0.1:0", "--key", join(dir, "key")];
  const told = await run("python3", ["-c", script, join(dir, "socket"), process.execPath, ...meta], {
    timeout: 60_000,
  });
  t.match(told.stdout, /READY=1[^]* 0\n$/);
});

/** Instructions with their arguments; the last stage alone. */
async function imageOf(file: string): Promise<{ instruction: string; rest: string }[]> {
  const lines = (await readFile(file, "utf8"))
    .replace(/^#.*\n/gm, "")
    .replace(/\\\n/g, " ")
    .split("\n");
  const all = lines
    .filter((line) => line !== "")
    .map((line) => {
      const [, instruction = "", rest = ""] = /^([A-Z]+) (.*)$/.exec(line) ?? [];
      return { instruction, rest };
    });
  return all.slice(all.findLastIndex(({ instruction }) => instruction === "FROM"));
}

test("what the Dockerfile puts into the image is all that a cluster needs", async (t) => {
  const dir = await ownFolder(t);
  const image = await imageOf(join(packageRoot, "packaging", "Dockerfile"));
  const known = ["FROM", "RUN", "COPY", "ENV", "USER", "ENTRYPOINT", "CMD"];
  for (const { instruction } of image) t.ok(known.includes(instruction), instruction);
  for (const { instruction, rest } of image) {
    if (instruction !== "COPY") continue;
    const [, from = "", into = ""] = /^--from=build \/src\/(\S+) (\/opt\/bigfs\/\S*)$/.exec(rest) ?? [];
    await access(join(packageRoot, from));
    const target = join(dir, into, into.endsWith("/") ? (from.split("/").at(-1) ?? "") : "");
    await mkdir(dirname(target), { recursive: true });
    if (from === "node_modules") await linkProduction(target);
    else await cp(join(packageRoot, from), target, { recursive: true });
  }
  const runs = image.filter(({ instruction }) => instruction === "RUN").map(({ rest }) => rest);
  const [, bin = ""] = /ln -s (\S+) \/usr\/local\/bin\/bigfsd/.exec(runs.join("\n")) ?? [];
  t.equal(image.find(({ instruction }) => instruction === "ENTRYPOINT")?.rest, '["bigfsd"]');
  const bigfsd = (args: readonly string[]) => run(join(dir, bin), args, { timeout: 60_000 });
  const cluster = join(dir, "cluster");
  t.teardown(() => bigfsd(["down", "--force", "--data", cluster]));
  const mnt = join(dir, "mnt");
  t.match(await bigfsd(["up", "--data", cluster, "--mount", mnt, "--storage", "2"]), { code: 0 });
  await writeFile(join(mnt, "file"), "x".repeat(100_000));
  t.match(await bigfsd(["down", "--data", cluster]), { code: 0 });
});

/** What `npm prune --omit=dev` leaves. */
async function linkProduction(target: string): Promise<void> {
  const lock = JSON.parse(await readFile(join(packageRoot, "package-lock.json"), "utf8")) as {
    packages: Record<string, { dev?: boolean }>;
  };
  for (const [path, { dev = false }] of Object.entries(lock.packages)) {
    const [, name] = /^node_modules\/((?:@[^/]+\/)?[^/]+)$/.exec(path) ?? [];
    if (name === undefined || dev) continue;
    await mkdir(dirname(join(target, name)), { recursive: true });
    await symlink(join(packageRoot, path), join(target, name));
  }
}
