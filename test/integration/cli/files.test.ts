import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, readdir, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { Files } from "../../../mount/files/files.js";
import { pattern } from "../../unit/mount/vfs/lab.js";
import { bigfsd } from "../../helpers/cluster.js";
import { BIN, place, shell } from "./place.js";

test("files are put, shown, got, moved and removed without a mount", async (t) => {
  const { dir, run } = await place(t);
  const local = join(dir, "local.bin");
  await writeFile(local, pattern(300_000, 1), { mode: 0o644 });
  t.match(await run(["mkdir", "-p", "/a/b"]), { code: 0, stdout: "" });
  const put = await run(["put", local, "/a/b/"]);
  t.match(put, { code: 0, stderr: /^1 file, 293 KiB, / });
  t.equal((await run(["ls", "/a/b"])).stdout, "local.bin\n");
  t.match((await run(["ls", "-l", "/a/b/local.bin"])).stdout, /^-rw-r--r-- +1 +\d+ +\d+ +300000 .* local.bin\n$/);
  t.match(JSON.parse((await run(["stat", "--json", "a/b/local.bin"])).stdout), {
    ...{ path: "/a/b/local.bin", type: "file", mode: "0644", size: 300_000, links: 1 },
  });
  const cat = await run(["cat", "/a/b/local.bin", "/a/b/local.bin"]);
  t.equal(cat.stdout, Buffer.concat([pattern(300_000, 1), pattern(300_000, 1)]).toString());
  t.equal((await run(["mv", "/a/b/local.bin", "/a"])).code, 0);
  t.match(await run(["mv", "-n", "/a/local.bin", "/a/b"]), { code: 0 });
  t.equal((await run(["get", "/a/b/local.bin", join(dir, "back")])).code, 0);
  t.ok((await readFile(join(dir, "back"))).equals(await readFile(local)));
  t.match(await run(["rm", "/a"]), { code: 1, stderr: /\/a: it is a folder; -r removes it/ });
  t.equal((await run(["rm", "-r", "/a"])).code, 0);
  t.same(await run(["ls", "-R"]), { code: 0, stdout: "/:\n\n", stderr: "" });
});

test("a prompt runs the same commands in one session, with a folder of its own", async (t) => {
  const at = await place(t);
  const tree = join(at.dir, "tree");
  await mkdir(join(tree, "sub"), { recursive: true });
  await writeFile(join(tree, "sub", "f g"), pattern(2_000_000, 1));
  await writeFile(join(tree, "small"), "text\n");
  const lines = [
    `put -rp ${tree} /`,
    "cd tree",
    "pwd",
    "tree",
    "du -s --json .",
    "cd sub/..",
    "mkdir 'new one'",
    "mv small new\\ one/",
    "cat 'new one/small'",
    "# not a command",
    "info --json 'sub/f g'",
    "nonsense",
    "cat 'open",
    "ls /none",
    "rm -r sub 'new one'",
    "ls",
    "exit",
    "ls /",
  ];
  const { code, stdout: out, stderr: err } = await shell(at, lines);
  t.equal(code, 1, "the exit code of the last that failed");
  const [info] = out.split("\n").filter((line) => line.startsWith('{"path":"/tree/sub/f g"'));
  t.match(JSON.parse(info ?? "{}"), {
    ...{ size: 2_000_000, replicas: 2, minReplicas: 2 },
    slices: [{ from: 0, offset: 0 }],
    chunks: [{ replicas: [{ zone: /zone/, state: "available", nodeState: "UP" }, { state: "available" }] }],
  });
  t.equal(
    out.replace(`${info}\n`, ""),
    `/tree
/tree
├── small
└── sub
    └── f g

1 folder, 2 files
{"path":"/tree","folders":2,"files":2,"size":2000005,"stored":2000005}
text
`,
  );
  t.match(err, /^2 files, 1.9 MiB, .*\nbigfsd: there is no 'nonsense': try help\nbigfsd: a ' has no end\n/);
  t.match(err, /bigfsd: \/none does not exist \(ENOENT\)\n$/);
});

test("a folder goes into one that is there, and its content where it is told, as often as one likes", async (t) => {
  const { dir, run } = await place(t);
  const tree = join(dir, "tree");
  await mkdir(join(tree, "sub"), { recursive: true });
  await writeFile(join(tree, "sub", "f"), "text");
  t.equal((await run(["put", "-r", tree, "/"])).code, 0);
  t.equal((await run(["ls", "/tree/sub"])).stdout, "f\n");
  for (const into of ["/copy", "/copy", "/"]) t.equal((await run(["put", "-r", `${tree}/`, into])).code, 0);
  t.equal((await run(["ls", "-R", "/copy"])).stdout, "/copy:\nsub\n\n/copy/sub:\nf\n\n");
  t.equal((await run(["ls"])).stdout, "copy\nsub\ntree\n");
  t.match(await run(["put", "-r", tree, tree, "/none"]), {
    code: 1,
    stderr: /\/none does not exist: .mkdir. makes it/,
  });
  const back = join(dir, "back");
  for (let i = 0; i < 2; i++) t.equal((await run(["get", "-r", "/copy/", back])).code, 0);
  t.same(await readdir(back), ["sub"]);
  const again = await run(["get", "-ru", "--json", "/copy/", back]);
  t.match(JSON.parse(again.stdout), { files: 1, bytes: 4, failed: false });
  t.equal((await run(["get", "-r", "/copy", back])).code, 0);
  t.same((await readdir(back)).sort(), ["copy", "sub"]);
  t.equal(await readFile(join(back, "copy", "sub", "f"), "utf8"), "text");
});

test("what goes wrong is said with its path, and the rest is done", async (t) => {
  const { dir, run, args, lab } = await place(t);
  const local = join(dir, "f");
  await writeFile(local, "text");
  t.match(await run(["put", local, join(dir, "missing"), "/"]), {
    code: 1,
    stderr: /missing: no such file or directory \(ENOENT\)\n/,
  });
  t.equal((await run(["cat", "/f"])).stdout, "text");
  t.match(await run(["cat", "/f", "/none", "/f"]), { code: 1, stdout: "texttext", stderr: /\/none does not exist/ });
  t.match(await run(["put", dir, "/"]), { code: 1, stderr: /it is a folder/ });
  t.match(await run(["get", "/", dir]), { code: 1, stderr: /it has no name of its own/ });
  t.match(await run(["get", "/f", join(dir, "none", "f")]), { code: 2, stderr: /there is no folder .*none: make it/ });
  t.match(await run(["put", local]), { code: 2, stderr: /LOCAL\.\. PATH/ });
  t.match(await run(["ls", "-e", "/\\q"]), { code: 1, stderr: /is no escape/ });
  const odd = join(dir, "odd\n\u001b[2Jname");
  await writeFile(odd, "odd");
  t.equal((await run(["put", odd, "/"])).code, 0);
  const shown = (await run(["ls"])).stdout;
  t.equal(shown, "f\nodd\\n\\x1b[2Jname\n");
  t.equal((await run(["cat", "-e", "/odd\\n\\x1b[2Jname"])).stdout, "odd");
  const wrong = join(dir, "wrong.key");
  await writeFile(wrong, `${Buffer.alloc(32, 9).toString("hex")}\n`, { mode: 0o600 });
  const [, meta = ""] = args;
  t.match(await bigfsd(["ls", "--meta", meta, "--key", wrong]), { code: 4, stderr: /another cluster key/ });
  await lab.meta.stop();
  t.match(await run(["ls"]), {
    code: 3,
    stderr:
      /^bigfsd: the metadata daemon at (.+) cannot be reached: connect ECONNREFUSED \1\n {2}start the metadata daemon there/,
  });
});

test("interrupted by Ctrl-C a copy leaves nothing and ends with 130", async (t) => {
  const { dir, args, lab } = await place(t);
  const local = join(dir, "large");
  await writeFile(local, "");
  // The storage daemons are in this process: it cannot be over before this process has looked.
  await truncate(local, 2 ** 30);
  const { fs } = await lab.client({ permissions: "rules" });
  const files = new Files(fs, { uid: 0, gid: 0, pid: 1 });
  const names = async () => (await files.list(fs.root)).map(({ name }) => name as string);
  const child = spawn(process.execPath, [BIN, "put", local, "/", ...args], { stdio: "ignore" });
  const ended = once(child, "exit");
  while ((await names()).length === 0) await new Promise((resolve) => setImmediate(resolve));
  t.match(await names(), [/^\.bigfs-put-/]);
  child.kill("SIGINT");
  t.same(await ended, [130, null]);
  t.same(await names(), []);
});
