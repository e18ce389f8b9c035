import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, chown, mkdir, readdir, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "tap";
import { Files } from "../../../mount/files/files.js";
import { bigfsd } from "../../helpers/cluster.js";
import { packageRoot } from "../../helpers/package-root.js";
import { sh } from "../../helpers/run.js";
import { BIN, place, shell } from "./place.js";

test("each error says what and where, and what to do", async (t) => {
  const at = await place(t);
  const { dir } = at;
  for (const folder of ["a", "b"]) {
    await mkdir(join(dir, folder));
    await writeFile(join(dir, folder, "f"), folder);
  }
  await symlink("b", join(dir, "link"));
  execFileSync("mkfifo", [join(dir, "fifo")]);
  const { fs } = await at.lab.client({ permissions: "rules" });
  await fs.mknod({ uid: 0, gid: 0, pid: 1 }, fs.root, "fifo" as never, 0o010644, 0, 0);
  await writeFile(join(dir, "\u001b[31mred\n"), "");
  const said: (readonly [command: string, error: string])[] = [
    ["cat /d", "/d: it is a folder: 'ls' shows what is in it (EISDIR)"],
    ["cat /fifo", "/fifo: it is neither a file nor a folder (EINVAL)"],
    [`get /fifo ${dir}/new`, "/fifo: it is neither a file nor a folder (EINVAL)"],
    [`put ${dir}/a/f /fifo`, `${dir}/a/f: there is something that is no file (EEXIST)`],
    ["mv /d/f ''", "a path is empty: '.' or '/' is what is meant, or a variable has no value (ENOENT)"],
    [`put -r '' /`, "a path is empty: '.' or '/' is what is meant, or a variable has no value (ENOENT)"],
    ["tree /d/f", "/d/f: it is no folder (ENOTDIR)"],
    ["rm -r /", "/ ends in no name: it cannot be made, moved, removed or replaced (EINVAL)"],
    ["mkdir /none/x", "/none/x: /none does not exist (ENOENT)"],
    ["mkdir /d/f/x/y", "/d/f/x/y: /d/f is no folder (ENOTDIR)"],
    ["mv /d /d/x", "/d: a folder cannot be moved into itself (EINVAL)"],
    ["mv /d/f /new/", "/new is no folder (ENOTDIR)"],
    ["mv /a/f /b/f /d", "/b/f: another of these is called f: it was not replaced (EEXIST)"],
    [`get /d ${dir}`, "/d: it is a folder: -r copies it with all that is in it (EISDIR)"],
    [`get /b/f ${dir}/fifo`, "/b/f: there is something that is no file: 'cat' writes to it (EEXIST)"],
    [`get /d/f /b/f ${dir}/a`, "/b/f: another of these is called f: it was not replaced (EEXIST)"],
    [`get /d/f ${dir}/none/f`, `there is no folder ${dir}/none: make it first`],
    [`put ${dir}/fifo /`, `${dir}/fifo: it is neither a file nor a folder (EINVAL)`],
    [`put ${dir}/a /`, `${dir}/a: it is a folder: -r copies it with all that is in it (EINVAL)`],
    [`put ${dir}/a/f /none/`, `${dir}/a/f: /none does not exist: 'mkdir' makes it (ENOENT)`],
    [`put ${dir}/a/f ${dir}/b/f /d`, `${dir}/b/f: another of these is called f: it was not replaced (EEXIST)`],
    [`put ${dir}/none\\x1b[2J /`, `${dir}/none\\x1b[2J: no such file or directory (ENOENT)`],
    [`ls /${"n".repeat(256)}`, `/${"n".repeat(256)}: a name has 255 bytes at most (ENAMETOOLONG)`],
    ["ls /\ufffd", "/\ufffd has bytes that are not UTF-8: write it as it is shown (\\xff), with -e (EINVAL)"],
    ["ls --\u001b[2J", "Unknown argument: \\x1b[2J"],
  ];
  const ready = [
    `put -r ${dir}/a ${dir}/b /`,
    "mkdir /d",
    `put ${dir}/a/f /d`,
    "cp",
    "mv /a/f /a/g",
    `put ${dir}/a/f /a`,
  ];
  const { code, stdout, stderr } = await shell(at, [...ready, ...said.map(([command]) => command)]);
  t.equal(stdout, "");
  t.equal(code, 2);
  const errors = stderr.split("\n").filter((line) => !/^(\d+ files?, .*|)$/.test(line));
  t.same(errors, ["bigfsd: there is no 'cp': try help", ...said.map(([, error]) => `bigfsd: ${error}`)]);
  const later = await shell(at, [
    `put ${dir}/\\x1b[31mred\\n /`,
    `put -r ${dir}/link/ /linked`,
    `put -r ${dir}/link /`,
    "mv /d/f /-x",
    "rm -- -x",
    "ls -l /link",
    "ls /b/f /b/f",
    "mkdir 'end '",
    "ls -l",
    "rm -r 'end '",
    "ls / /link",
    "stat --json /link",
  ]);
  const [long = "", ...rest] = later.stdout.split("\n");
  t.match(long, /^lrwxrwxrwx .* link -> b$/);
  const stat = rest.splice(-2, 1).join("");
  t.same(rest.splice(0, 2), ["/b/f", "/b/f"]);
  t.equal(rest.splice(0, 8).filter((line) => /^d.*  end $/.test(line)).length, 1, "a name may end with a blank");
  t.same(rest, ["/:", "\\x1b[31mred\\n", "a", "b", "d", "fifo", "link", "linked", "", "/link:", "f", "", ""]);
  t.match(JSON.parse(stat), { path: "/link", type: "link", target: "b" });
});

/** The prompt of another user: everything is loaded before, as that user may not read where this lies. */
const AS_USER = `
const [cli, uid, ...args] = process.argv.slice(1);
const load = (module) => import(cli + module);
const { runShell } = await load("/daemon/cli/files/shell.js");
await Promise.all(["/mount/client.js", "/mount/files/files.js"].map(load));
if (process.getuid() === 0) {
  process.setgroups([]);
  process.setgid(Number(uid));
  process.setuid(Number(uid));
}
const [meta, key] = args;
process.exitCode = await runShell({ meta, key }, { input: process.stdin, output: process.stdout });
`;

test("who may not is told so, sees the rest, and the exit code is 4", async (t) => {
  const { lab, dir, args } = await place(t);
  const { fs } = await lab.client({ permissions: "rules" });
  const files = new Files(fs, { uid: 0, gid: 0, pid: 1 });
  const [, meta = "", , key = ""] = args;
  const user = process.getuid?.() === 0 ? 65534 : (process.getuid?.() ?? 0);
  await chmod(dir, 0o755);
  await chown(key, user, user);
  for (const [name, mode] of [
    ["closed", 0o700],
    ["open", 0o755],
  ] as const) {
    const { ino } = await files.mkdir(await files.place([name as never]), 0o755);
    await files.mkdir({ dir: ino, name: "sub" as never, node: undefined }, 0o755);
    await fs.setattr(files.who, ino, { mode });
  }
  const own = join(dir, "own");
  await writeFile(own, "text");
  const said = async (line: string) => {
    const child = spawn(process.execPath, [
      "--input-type=module",
      "-e",
      AS_USER,
      join(packageRoot, "dist"),
      `${user}`,
      meta,
      key,
    ]);
    child.stdin.end(`${line}\n`);
    const [stdout, stderr, ended] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
    return { code: ended[0] as number, stdout, stderr };
  };
  const denied = "bigfsd: /closed: permission denied (EACCES)\n";
  const { code, stdout, stderr } = await said("ls -R");
  t.same({ code, stdout }, { code: 4, stdout: "/:\nclosed\nopen\n\n/closed:\n\n/open:\nsub\n\n/open/sub:\n\n" });
  // The test runner may add that it cannot write as this user.
  t.ok(stderr.startsWith(denied), stderr);
  t.match(await said("tree"), {
    code: 4,
    stdout: /closed\n└── open\n {4}└── sub\n\n3 folders, 0 files/,
    stderr: denied,
  });
  t.match(await said("du"), { code: 4, stdout: / \/open\n.* \/\n$/, stderr: denied });
  t.match(await said("stat /closed/sub"), {
    code: 4,
    stderr: "bigfsd: /closed/sub lies in a folder that you may not enter (EACCES)\n",
  });
  t.match(await said(`put ${own} /`), {
    code: 4,
    stderr: `bigfsd: ${own}, in the cluster: permission denied (EACCES)\n`,
  });
  t.match(await said("ls /none /closed"), { code: 1 });
});

test("arguments after -- are no options, and none is given twice", async (t) => {
  const { run, args } = await place(t);
  t.equal((await run(["mkdir", "./-x"])).code, 0);
  t.match((await bigfsd(["--get-yargs-completions", "bigfsd", "ls", "--"])).stdout, /^--long$/m);
  t.match(await bigfsd(["rm", "-r", ...args, "--", "-x"]), { code: 0, stderr: "" });
  t.same(await run(["ls"]), { code: 0, stdout: "", stderr: "" });
  t.match(await run(["ls", "--key", "/none"]), {
    code: 2,
    stderr: /key is given 2 times: give one\nTry 'bigfsd ls --help'/,
  });
});

test("when nobody reads the output any more, or it is full, a command ends in order", async (t) => {
  const { dir, args } = await place(t);
  const line = async (command: string) => {
    const all = args.map((arg) => `'${arg}'`).join(" ");
    return sh(`set +e; ${command.replaceAll("bigfsd", `'${process.execPath}' '${BIN}'`).replaceAll("ARGS", all)}`, {
      cwd: dir,
    });
  };
  await writeFile(join(dir, "big"), "");
  await truncate(join(dir, "big"), 30 * 1024 * 1024);
  const codes = "echo ${PIPESTATUS[0]}";
  t.equal(await line(`bigfsd mkdir --json /d ARGS 2>&1 | true; ${codes}`), "141\n");
  t.equal(
    await line(`bigfsd put big / ARGS 2>/dev/null; bigfsd cat /big ARGS 2>&1 | head -c 1 | wc -c; ${codes}`),
    "1\n141\n",
  );
  t.equal(
    await line(`bigfsd ls /big /big /big ARGS 2>&1 >/dev/full; ${codes}`),
    "bigfsd: the output: no space left on device (ENOSPC)\n" + "1\n",
  );
});

test("a prompt is ended by signals in order, and nothing is left", async (t) => {
  const { dir, args, lab } = await place(t);
  const local = join(dir, "large");
  await writeFile(local, "");
  await truncate(local, 2 ** 36);
  const { fs } = await lab.client({ permissions: "rules" });
  const files = new Files(fs, { uid: 0, gid: 0, pid: 1 });
  const names = async () => (await files.list(fs.root)).map(({ name }) => name as string);
  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    const child = spawn(process.execPath, [BIN, "shell", ...args], { stdio: ["pipe", "ignore", "ignore"] });
    const ended = once(child, "exit");
    child.stdin.write(`put ${local} /\nmkdir /not\n`);
    while ((await names()).length === 0) await new Promise((resolve) => setImmediate(resolve));
    child.kill(signal);
    t.same(await ended, [code, null]);
    t.same(await names(), [], "neither the half file, nor what the next line says");
  }
  t.same(await readdir(dir), ["cluster.key", "large"]);
});
