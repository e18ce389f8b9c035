import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type Test } from "tap";
import { measureDisk } from "../../../daemon/cli/doctor/measure.js";
import { lookAtMachine } from "../../../daemon/cli/doctor/look.js";
import { SCHEMAS } from "../../../daemon/cli/schemas.js";
import { systemClock } from "../../../daemon/common/clock.js";
import { FsError } from "../../../proto/errno.js";
import { bigfsd } from "../../helpers/cluster.js";
import { packageRoot } from "../../helpers/package-root.js";
import { must, run } from "../../helpers/run.js";
import { until } from "../../helpers/until.js";
import { KEY, Lab } from "../client/lab.js";

const BIN = join(packageRoot, "dist/daemon/cli/bin.js");

async function folder(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "bigfs-words-"));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  await writeFile(join(dir, "cluster.key"), `${KEY.toString("hex")}\n`, { mode: 0o600 });
  return dir;
}

test("an option that is given twice, or empty, is misuse", async (t) => {
  const misuse = async (args: string[], message: string) =>
    t.same(await bigfsd(args), {
      code: 2,
      stdout: "",
      stderr: `bigfsd: ${message}\nTry 'bigfsd ${args[0]} --help'.\n`,
    });
  await misuse(["status", "--data", "a", "--data", "b"], "data is given 2 times: give one");
  await misuse(["volume", "create", "--data", ""], "data is empty: give a value");
  await misuse(["key", ""], "file is empty: give a value");
  await misuse(["doctor", "--disk"], "Not enough arguments following: disk");
  const german = await bigfsd(["node", "show"], { LC_ALL: "de_DE.UTF-8" });
  t.match(german, { code: 2, stderr: /Not enough non-option arguments/ }, "in one language");
  const both = ["meta", "--print-config", "--deadline", "chunkMs=7", "--deadline", "syncMs=8"];
  t.match(await bigfsd(both), { code: 0, stdout: /- chunkMs=7 # flag\n {2}- syncMs=8/ }, "a list may be");
});

test("help has examples, also of groups, and bigfsd's own the exit codes", async (t) => {
  const help = async (...words: string[]) => (await bigfsd([...words, "--help"])).stdout;
  const groups = await Promise.all(["node", "session", "config", "volume"].map((group) => help(group)));
  for (const text of groups) t.match(text, /\nExamples:\n {2}bigfsd (\w+) \w+/);
  t.match(await help(), /\nExamples:\n[^]*\nExit codes: 0 done, 1 failed, 2 misuse, 3 not reachable, 4 not allowed/);
});

test("a completion is asked for as the shell does, and leaves files to the shell", async (t) => {
  const dir = await folder(t);
  await writeFile(join(dir, "bigfsd"), `#!/bin/sh\nexec ${process.execPath} ${BIN} "$@"\n`, { mode: 0o755 });
  const ask = (...words: string[]) => `words ${words.map((word) => `'${word}'`).join(" ")}`;
  const script = [
    "source <(bigfsd completion)",
    'words() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _bigfsd_yargs_completions; echo "${COMPREPLY[*]}"; }',
    ask("bigfsd", "node", ""),
    ask("bigfsd", "put", ""),
    ask("bigfsd", "config", "set", "mi"),
    ask("bigfsd", "status", "--"),
    ask("bigfsd", "mount", "$(touch touched)", "; touch touched", ""),
  ].join("\n");
  const { stdout } = await run("bash", ["-c", script], { cwd: dir, env: { PATH: `${dir}:${process.env["PATH"]}` } });
  const [nodes, put, config, options, odd] = stdout.split("\n");
  t.match(nodes, /^ls show rename set\b/);
  t.equal(put, "");
  t.equal(config, "min-replicas");
  t.match(options, /^--help --version .*--watch/);
  t.equal(odd, "");
  t.notOk((await readdir(dir)).includes("touched"));
});

test("what stands after -- is an argument, and output that nobody reads any more is no crash", async (t) => {
  const lab = await Lab.start(t);
  const dir = await folder(t);
  const cluster = ["--meta", lab.meta.listen, "--key", join(dir, "cluster.key")];
  t.equal((await bigfsd(["mkdir", ...cluster, "--", "-x", "--json"])).code, 0);
  t.match(await bigfsd(["ls", ...cluster, "/"]), { stdout: "--json\n-x\n" });
  t.match(await bigfsd(["ls", ...cluster, "--", "--gone"]), { code: 1, stderr: /--gone/ });
  const watch = `${process.execPath} ${BIN} status --watch --json ${cluster.join(" ")}`;
  const { stdout, stderr } = await run("bash", ["-c", `${watch} | head -n 1`]);
  t.equal(SCHEMAS.status.safeParse(JSON.parse(stdout)).success, true);
  t.equal(stderr, "");
});

test("status --watch goes on while the daemon is away, and ends with 130 at Ctrl-C", async (t) => {
  const lab = await Lab.start(t);
  const dir = await folder(t);
  const { listen } = lab.meta;
  const args = ["status", "--watch", "--json", "--meta", listen, "--key", join(dir, "cluster.key")];
  const child = spawn(process.execPath, [BIN, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  t.teardown(() => child.kill("SIGKILL"));
  await once(child.stdout, "data");
  await once(child.stdout, "data");
  let told = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (told += text));
  await lab.meta.stop();
  // What it was just asking may fail otherwise.
  const away = /^bigfsd: .*cannot be reached: connect ECONNREFUSED .*\n {2}start the metadata daemon there/m;
  await until(() => away.test(told) || child.exitCode !== null);
  t.match(told, away);
  await lab.startMeta(listen);
  const [back] = (await once(child.stdout, "data")) as [Buffer];
  t.equal(SCHEMAS.status.safeParse(JSON.parse(back.toString().split("\n")[0] ?? "")).success, true);
  child.kill("SIGINT");
  t.same(await once(child, "exit"), [130, null]);
});

test("a metadata daemon takes no folder that holds other things", async (t) => {
  const dir = await folder(t);
  const refusal = { code: 1, stderr: /has no meta.db, but it is not empty \(cluster.key\)\n {2}is the right disk/ };
  t.match(await bigfsd(["volume", "create", "--data", dir]), refusal);
  const meta = ["meta", "--data", dir, "--key", join(dir, "cluster.key"), "--listen", "127.0.0.1:0"];
  t.match(await bigfsd(meta), refusal);
  t.same(await readdir(dir), ["cluster.key"]);
  const fresh = join(dir, "fresh");
  await mkdir(join(fresh, "lost+found"), { recursive: true });
  t.match(await bigfsd(["volume", "create", "--data", fresh]), { code: 0 });
});

test("an interrupted doctor or debug leaves nothing behind", async (t) => {
  const dir = await folder(t);
  const abort = new AbortController();
  let looks = 0;
  const clock = {
    ...systemClock,
    monotonicMs: () => {
      if (++looks === 5) abort.abort(new FsError("EINTR"));
      return systemClock.monotonicMs();
    },
  };
  await t.rejects(measureDisk(dir, { clock, signal: abort.signal }), { message: /EINTR/ });
  t.same(await readdir(dir), ["cluster.key"]);
  const bundle = join(dir, "bundle.tar.gz");
  const child = spawn(process.execPath, [BIN, "debug", "--output", bundle], {
    stdio: "ignore",
    env: { ...process.env, TMPDIR: dir },
  });
  const exit = once(child, "exit");
  await until(async () => (await readdir(dir)).includes("bundle.tar.gz"));
  child.kill("SIGINT");
  t.same(await exit, [130, null]);
  t.same(await readdir(dir), ["cluster.key"]);
});

test("what a user may not do, or nobody has, is said as it is", async (t) => {
  t.equal((await lookAtMachine({ fuse: "/nonexistent" })).fuseError, "ENOENT");
  if (process.getuid?.() !== 0) return;
  // A user who may read this program, but not write where root may.
  const dir = await folder(t);
  await must("chmod", ["755", dir]);
  const nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", process.execPath, BIN];
  const as = (...args: string[]) => run("setpriv", [...nobody, ...args]);
  t.match(await as("key", join(dir, "new.key")), {
    code: 4,
    stderr: /cannot write the cluster key .*EACCES\n {2}name/,
  });
  t.match(await as("volume", "create", "--data", join(dir, "v")), { code: 4, stderr: /EACCES/ });
  const status = ["status", "--meta", "127.0.0.1:1", "--key", join(dir, "cluster.key")];
  t.match(await as(...status), { code: 4, stderr: /permission denied\n {2}run it as the user whose file that is/ });
});
