import { appendFile, chmod, lstat, mkdir, readFile, readdir, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { Files, type Node } from "../../../mount/files/files.js";
import { localPath } from "../../../mount/files/local-path.js";
import { parsePath } from "../../../mount/files/path.js";
import { getFile, putFile } from "../../../mount/files/transfer.js";
import { getTree, putTree, removeTree } from "../../../mount/files/trees.js";
import { pattern } from "../../unit/mount/vfs/lab.js";
import { content, options, place } from "./files-place.js";

const MIB = 1024 * 1024;

test("a file that is put is there with its content and mode, and replaces what was there", async (t) => {
  const p = await place(t);
  const local = join(p.dir, "f");
  for (const size of [0, 1, 5000, 3 * MIB + 17]) {
    const data = pattern(size, size + 1);
    await writeFile(local, data, { mode: 0o640 });
    let copied = 0;
    await putFile(p.files, localPath(local), await p.at("/f"), options({ copied: (more) => (copied += more) }));
    t.equal(copied, size);
    t.ok((await content(p, "/f")).equals(data));
    const got = join(p.dir, "got");
    await getFile(p.files, await p.files.stat(parsePath("f")), localPath(got), options());
    t.ok((await readFile(got)).equals(data));
    t.equal((await p.files.stat(parsePath("f"))).attr.mode & 0o777, 0o640);
  }
  t.same(await p.names(), ["f"], "and nothing else");
  t.same((await readdir(p.dir)).sort(), ["f", "got"]);
  await p.files.mkdirs(parsePath("/d"), 0o755);
  await t.rejects(putFile(p.files, localPath(local), await p.at("/d"), options()), {
    name: "FsError",
    errno: "EISDIR",
  });
  await t.rejects(putFile(p.files, localPath(p.dir), await p.at("/x"), options()), {
    name: "FsError",
    errno: "EINVAL",
  });
});

test("what was killed is continued, what is interrupted or changes leaves nothing", async (t) => {
  const p = await place(t);
  const local = join(p.dir, "big");
  await writeFile(local, pattern(4 * MIB, 1));
  const abort = new AbortController();
  const stopped = (change: () => unknown) => {
    let pieces = 0;
    return options({ signal: abort.signal, copied: () => ++pieces === 3 && change() });
  };
  await t.rejects(
    putFile(
      p.files,
      localPath(local),
      await p.at("/big"),
      stopped(() => abort.abort()),
    ),
  );
  t.same(await p.names(), []);
  const changed = options({ copied: () => void appendFile(local, "x") });
  await t.rejects(putFile(p.files, localPath(local), await p.at("/big"), changed), {
    name: "FsError",
    errno: "EAGAIN",
  });
  t.same(await p.names(), []);
  // Killed: its connection ends, and it cleans nothing up.
  const other = await p.client.again();
  const dying = new Files(other.fs, p.files.who);
  const never = new Promise<void>(() => {});
  let reached: () => void = () => {};
  const half = new Promise<void>((resolve) => (reached = resolve));
  const write = other.fs.write.bind(other.fs);
  other.fs.write = (handle, off, data) => {
    if (off < 2 * MIB) return write(handle, off, data);
    reached();
    return never.then(() => 0);
  };
  void putFile(dying, localPath(local), await dying.place(parsePath("/big")), options());
  await half;
  await other.fs.drain();
  await other.stop();
  const [part = ""] = await p.names();
  t.match(part, /^\.bigfs-put-/);
  const pieces: number[] = [];
  await putFile(p.files, localPath(local), await p.at("/big"), options({ copied: (more) => pieces.push(more) }));
  t.equal(pieces[0], 2 * MIB, "what was there is not copied again");
  t.same(await p.names(), ["big"]);
  t.ok((await content(p, "/big")).equals(await readFile(local)));
});

test("a tree comes back as it was, with names of any bytes, and is removed as a whole", async (t) => {
  const p = await place(t);
  const tree = join(p.dir, "tree");
  await mkdir(join(tree, "sub", "empty"), { recursive: true });
  for (let i = 0; i < 40; i++) await writeFile(join(tree, "sub", `f${i}`), pattern(i * 777, i));
  await writeFile(Buffer.concat([Buffer.from(`${tree}/odd `), Buffer.from([0xff, 0x0a, 0x5c])]), "odd");
  await symlink("sub/f1", join(tree, "link"));
  await chmod(join(tree, "sub", "f2"), 0o4711);
  await utimes(join(tree, "sub", "f3"), 1000, 2000.5);
  await utimes(join(tree, "sub"), 3000, 4000);
  const failures: string[] = [];
  const opts = options({ preserve: true, failed: (path: string) => failures.push(path) });
  t.equal(await putTree(p.files, localPath(tree), await p.at("/t"), opts), 0);
  t.equal(await putTree(p.files, localPath(tree), await p.at("/t"), opts), 0, "and once more over it");
  const back = join(p.dir, "back");
  t.equal(await getTree(p.files, await p.files.stat(parsePath("/t")), localPath(back), opts), 0);
  t.same(failures, []);
  const look = async (root: string) => {
    const found = await readdir(root, { recursive: true, encoding: "latin1" });
    return found.sort();
  };
  const [before, after] = [await look(tree), await look(back)];
  t.same(after, before);
  for (const name of ["sub", "sub/f2", "sub/f3", "sub/f39", "sub/empty"]) {
    const [a, b] = [await lstat(join(tree, name)), await lstat(join(back, name))];
    t.same([b.mode, b.size], [a.mode, a.size], name);
    t.ok(Math.abs(b.mtimeMs - a.mtimeMs) < 0.002, `${b.mtimeMs} and ${a.mtimeMs} are the same microsecond`);
    if (a.isFile()) t.ok((await readFile(join(tree, name))).equals(await readFile(join(back, name))));
  }
  const at = await p.at("/t");
  await t.rejects(p.files.remove(at, true), { name: "FsError", errno: "ENOTEMPTY" });
  const removed: string[] = [];
  t.equal(
    await removeTree(p.files, { ...at, node: at.node as Node }, "/t", { ...opts, done: (path) => removed.push(path) }),
    0,
  );
  t.equal(removed.length, before.length + 1);
  t.same(await p.names(), []);
});

test("paths lead over links, and stop where the caller may not pass", async (t) => {
  const p = await place(t);
  const { files, client } = p;
  const { fs, who } = files;
  const deep = await files.mkdirs(parsePath("/a/b/c"), 0o755);
  const link = async (dir: number, name: string, target: string) =>
    void (await fs.symlink(who, dir, name as never, Buffer.from(target)));
  const a = (await files.stat(parsePath("a"))).ino;
  await link(a, "up", "../a/b");
  await link(a, "root", "/a/b/");
  await link(a, "loop", "loop");
  await link(a, "new", "b/made");
  t.equal((await files.stat(parsePath("/a/up/c"))).ino, deep.ino);
  t.equal((await files.stat(parsePath("a/root/../root/c/./../c"))).ino, deep.ino);
  t.equal((await files.stat(parsePath("/a/b/c/../../.."))).ino, fs.root);
  await t.rejects(files.stat(parsePath("/a/loop/x")), { name: "FsError", errno: "ELOOP" });
  await t.rejects(files.stat(parsePath("/a/x/y")), {
    name: "FsError",
    errno: "ENOENT",
    message: /\/a\/x does not exist/,
  });
  t.match(await files.target(parsePath("/a/new")), { name: "made", node: undefined });
  const local = join(p.dir, "f");
  await writeFile(local, "text");
  await putFile(files, localPath(local), await p.at("/a/b/c/secret"), options());
  await t.rejects(files.stat(parsePath("/a/b/c/secret/x")), { name: "FsError", errno: "ENOTDIR" });
  await fs.setattr(who, deep.ino, { mode: 0o700 });
  const user = new Files((await client.again()).fs, { uid: 1000, gid: 1000, groups: [7], pid: 1 });
  await t.rejects(user.stat(parsePath("/a/b/c/secret")), { name: "FsError", errno: "EACCES" });
  await t.rejects(user.list(deep.ino), { name: "FsError", errno: "EACCES" });
  const refused = putFile(user, localPath(local), await user.place(parsePath("/a/mine")), options());
  await t.rejects(refused, { name: "FsError", errno: "EACCES" });
  await fs.setattr(who, a, { mode: 0o2775, gid: 7 });
  const group = new Files((await client.again()).fs, user.who);
  await putFile(group, localPath(local), await group.place(parsePath("/a/mine")), options());
  t.match((await group.stat(parsePath("/a/mine"))).attr, { uid: 1000, gid: 7 });
  const removing = async () => group.remove(await group.place(parsePath("/a/b/c/secret")), false);
  await t.rejects(removing(), {
    name: "FsError",
    errno: "EACCES",
  });
});

test("what is there and as new is left with update, and what is not whole for long is removed", async (t) => {
  const p = await place(t);
  const tree = join(p.dir, "tree");
  await mkdir(tree);
  for (const name of ["same", "newer", "longer"]) await writeFile(join(tree, name), "text");
  await putTree(p.files, localPath(tree), await p.at("/t"), options());
  const inos = async () => {
    const entries = await p.files.list((await p.files.stat(parsePath("/t"))).ino);
    return Object.fromEntries(entries.map(({ name, node }) => [name, node.ino]));
  };
  const before = await inos();
  const late = Date.now() / 1000 + 100;
  await utimes(join(tree, "newer"), late, late);
  await writeFile(join(tree, "longer"), "text and more");
  let copied = 0;
  const update = options({ update: true, copied: (more) => (copied += more) });
  // Of a copy that was given up two hours ago, and of one that goes on.
  const folder = (await p.files.stat(parsePath("/t"))).ino;
  const part = async (digit: string, sec: number) => {
    const flags = { read: true, write: true, append: false, truncate: false, sync: false, exclusive: true };
    const name = `.bigfs-put-${digit.repeat(24)}` as never;
    const { handle, attr } = await p.client.fs.create(p.files.who, folder, name, 0o600, 0, flags);
    await p.client.fs.setattr(p.files.who, attr?.ino ?? 0, { mtime: { sec, nsec: 0 } });
    await p.client.fs.release(handle);
  };
  await part("a", Math.floor(late) - 7300);
  await part("b", Math.floor(late) - 200);
  t.equal(await putTree(p.files, localPath(tree), await p.at("/t"), update), 0);
  t.equal(copied, 4 + 4 + 13, "what is left counts as copied");
  const after = await inos();
  t.equal(after.same, before.same);
  t.not(after.newer, before.newer);
  t.not(after.longer, before.longer);
  t.same(await p.names("/t"), [`.bigfs-put-${"b".repeat(24)}`, "longer", "newer", "same"]);
  const back = join(p.dir, "back");
  const get = async () => getTree(p.files, await p.files.stat(parsePath("/t")), localPath(back), update);
  await get();
  const first = await lstat(join(back, "same"));
  await writeFile(join(back, "longer"), "cut");
  await writeFile(join(back, `.bigfs-get-${"c".repeat(24)}`), "half");
  await utimes(join(back, `.bigfs-get-${"c".repeat(24)}`), late - 7300, late - 7300);
  await get();
  t.equal((await lstat(join(back, "same"))).ino, first.ino);
  t.equal(await readFile(join(back, "longer"), "utf8"), "text and more");
  t.notOk((await readdir(back)).some((name) => name.startsWith(".bigfs-get-")));
});

test("two copies of one file at a time, and a part that is of something else, end in one whole file", async (t) => {
  const p = await place(t);
  const local = join(p.dir, "big");
  await writeFile(local, pattern(3 * MIB, 1));
  const [one, two] = [await p.client.again(), await p.client.again()].map((c) => new Files(c.fs, p.files.who));
  if (one === undefined || two === undefined) throw new Error("no clients");
  await Promise.all(
    [one, two].map(async (files) => putFile(files, localPath(local), await files.place(parsePath("/big")), options())),
  );
  t.same(await p.names(), ["big"]);
  t.ok((await content(p, "/big")).equals(await readFile(local)));
  // What lies under the name of the part may have got its final name already: it is not cut, but left.
  let part = "";
  const abort = new AbortController();
  const look = options({ signal: abort.signal, copied: () => abort.abort() });
  const create = p.client.fs.create.bind(p.client.fs);
  p.client.fs.create = (who, dir, name, ...rest) => {
    part = name;
    return create(who, dir, name, ...rest);
  };
  await t.rejects(putFile(p.files, localPath(local), await p.at("/other"), look));
  const other = join(p.dir, "small");
  await writeFile(other, "something else");
  await putFile(p.files, localPath(other), await p.at(`/${part}`), options());
  await putFile(p.files, localPath(local), await p.at("/other"), options());
  t.same(await p.names(), ["big", "other"]);
  t.ok((await content(p, "/other")).equals(await readFile(local)));
});
