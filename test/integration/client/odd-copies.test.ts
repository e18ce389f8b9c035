import { execFileSync } from "node:child_process";
import {
  appendFile,
  lchown,
  lstat,
  lutimes,
  mkdir,
  readFile,
  readdir,
  readlink,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { Files } from "../../../mount/files/files.js";
import { localPath } from "../../../mount/files/local-path.js";
import { parsePath } from "../../../mount/files/path.js";
import { getFile, putFile } from "../../../mount/files/transfer.js";
import { getTree, putTree } from "../../../mount/files/trees.js";
import { FsError } from "../../../proto/errno.js";
import { pattern } from "../../unit/mount/vfs/lab.js";
import { content, options, place } from "./files-place.js";

const MIB = 1024 * 1024;

test("what is no file is neither put nor replaced, and not waited for", async (t) => {
  const p = await place(t);
  const [fifo, file, link] = [join(p.dir, "fifo"), join(p.dir, "f"), join(p.dir, "link")];
  execFileSync("mkfifo", [fifo]);
  await writeFile(file, "text");
  await symlink("fifo", link);
  const at = await p.at("/f");
  await t.rejects(putFile(p.files, localPath(fifo), at, options()), { errno: "EINVAL", message: /neither a file nor/ });
  await putFile(p.files, localPath(file), at, options());
  const node = await p.files.stat(parsePath("/f"));
  for (const local of [fifo, link])
    await t.rejects(getFile(p.files, node, localPath(local), options()), { errno: "EEXIST", message: /'cat' writes/ });
  t.ok((await lstat(fifo)).isFIFO());
  t.ok((await lstat(link)).isSymbolicLink());
  const root = await p.files.stat([]);
  await t.rejects(getFile(p.files, root, localPath(join(p.dir, "new")), options()), { errno: "EISDIR", message: /-r/ });
  t.same((await readdir(p.dir)).sort(), ["f", "fifo", "link"], "and nothing else");
});

test("a folder is got neither through a link nor over a file, and a link replaces no folder", async (t) => {
  const p = await place(t);
  const { fs, who } = p.files;
  const [tree, outside, back] = ["tree", "outside", "back"].map((name) => join(p.dir, name)) as [
    string,
    string,
    string,
  ];
  await mkdir(join(tree, "sub"), { recursive: true });
  await mkdir(join(tree, "over"));
  for (const name of ["sub/f", "over/f"]) await writeFile(join(tree, name), "text");
  await putTree(p.files, localPath(tree), await p.at("/t"), options());
  await fs.symlink(who, (await p.files.stat(parsePath("/t"))).ino, "link" as never, Buffer.from("sub"));
  for (const dir of [outside, back, join(back, "link")]) await mkdir(dir);
  await symlink(outside, join(back, "sub"));
  await writeFile(join(back, "over"), "mine");
  const failures: [string, unknown][] = [];
  const opts = options({ failed: (path, error) => failures.push([path.slice(p.dir.length), error]) });
  const get = async (into: string) => getTree(p.files, await p.files.stat(parsePath("/t")), localPath(into), opts);
  t.equal(await get(back), 3);
  t.match(Object.fromEntries(failures), {
    "/back/sub": { errno: "ENOTDIR" },
    "/back/over": { errno: "ENOTDIR" },
    "/back/link": { errno: "EISDIR" },
  });
  t.same(await readdir(outside), []);
  t.equal(await readFile(join(back, "over"), "utf8"), "mine");
  t.same((await readdir(back)).sort(), ["link", "over", "sub"]);
  for (let i = 0; i < 2; i++) t.equal(await get(join(p.dir, "new")), 0, "as often as one likes");
  t.equal(await readlink(join(p.dir, "new", "link")), "sub");
  // Back again, over what is there.
  await putTree(p.files, localPath(join(p.dir, "new")), await p.at("/t"), opts);
  t.same(await p.names("/t"), ["link", "over", "sub"]);
});

test("what a copy has not finished is no part of another one", async (t) => {
  const p = await place(t);
  const tree = join(p.dir, "tree");
  await mkdir(tree);
  await writeFile(join(tree, "f"), "text");
  await writeFile(join(tree, `.bigfs-get-${"a".repeat(24)}`), "half");
  await putTree(p.files, localPath(tree), await p.at("/t"), options());
  t.same(await p.names("/t"), ["f"]);
  const { dir } = await p.at("/t/f");
  const flags = { read: true, write: true, append: false, truncate: false, sync: false, exclusive: true };
  const name = `.bigfs-put-${"b".repeat(24)}` as never;
  const { handle } = await p.client.fs.create(p.files.who, dir, name, 0o600, 0, flags);
  await getTree(p.files, await p.files.stat(parsePath("/t")), localPath(join(p.dir, "back")), options());
  t.same(await readdir(join(p.dir, "back")), ["f"]);
  await p.client.fs.release(handle);
});

test("a copy that cannot be read, or whose half file is taken away, says so and leaves nothing", async (t) => {
  const p = await place(t);
  const local = join(p.dir, "f");
  await writeFile(local, pattern(10_000, 1));
  const remove = (names: readonly string[]) =>
    Promise.all(names.map(async (name) => p.files.remove(await p.at(`/${name}`), false).catch(() => {})));
  const { fs } = p.client;
  const fsync = fs.fsync.bind(fs);
  fs.fsync = async (handle) => {
    await fsync(handle);
    await remove(await p.names());
  };
  await t.rejects(putFile(p.files, localPath(local), await p.at("/f"), options()), {
    errno: "EAGAIN",
    message: /another copy of it was interrupted meanwhile/,
  });
  fs.fsync = fsync;
  await putFile(p.files, localPath(local), await p.at("/f"), options());
  fs.read = () => Promise.reject(new FsError("EIO"));
  const got = getFile(p.files, await p.files.stat(parsePath("/f")), localPath(join(p.dir, "g")), options());
  await t.rejects(got, { name: "FsError", errno: "EIO" });
  t.same(await readdir(p.dir), ["f"]);
});

test("holes stay holes", async (t) => {
  const p = await place(t);
  const local = join(p.dir, "sparse");
  await writeFile(local, pattern(5_000, 1));
  await truncate(local, 40 * MIB);
  await appendFile(local, "end");
  for (const [name, size] of [
    ["ends", 40 * MIB + 3],
    ["hole", 40 * MIB],
    ["none", 0],
  ] as const) {
    await truncate(local, size);
    await putFile(p.files, localPath(local), await p.at(`/${name}`), options());
    const node = await p.files.stat(parsePath(`/${name}`));
    t.equal(node.attr.size, size);
    t.ok(node.attr.stored <= 2 * MIB, `${node.attr.stored} bytes are stored`);
    const back = join(p.dir, "back");
    await getFile(p.files, node, localPath(back), options());
    t.ok((await readFile(back)).equals(await readFile(local)), name);
    t.ok((await stat(back)).blocks * 512 <= 3 * MIB, "here, too");
  }
});

test("links keep their times and owner, too", async (t) => {
  const p = await place(t);
  const tree = join(p.dir, "tree");
  await mkdir(tree);
  await symlink("none", join(tree, "link"));
  await lutimes(join(tree, "link"), 1000, 2000);
  if (process.getuid?.() === 0) await lchown(join(tree, "link"), 7, 8);
  const opts = options({ preserve: true });
  t.equal(await putTree(p.files, localPath(tree), await p.at("/t"), opts), 0);
  const { uid, gid } = await lstat(join(tree, "link"));
  const { attr } = await p.files.stat(parsePath("/t/link"), { follow: false });
  t.match(attr, { uid, gid, mtime: { sec: 2000, nsec: 0 } });
  t.equal(await getTree(p.files, await p.files.stat(parsePath("/t")), localPath(join(p.dir, "back")), opts), 0);
  t.match(await lstat(join(p.dir, "back", "link")), { uid, gid, mtimeMs: 2_000_000 });
});

test("times before 1970 are kept", async (t) => {
  const p = await place(t);
  const local = join(p.dir, "old");
  await writeFile(local, "text");
  await utimes(local, "-1.5", "-315619199.5");
  const opts = options({ preserve: true });
  await putFile(p.files, localPath(local), await p.at("/old"), opts);
  const node = await p.files.stat(parsePath("/old"));
  t.match(node.attr.mtime, { sec: -315619200, nsec: 500_000_000 });
  await getFile(p.files, node, localPath(local), opts);
  t.equal((await stat(local)).mtimeMs, -315619199_500);
});

test("a copy that was killed is not continued with another content of the same size and time", async (t) => {
  const p = await place(t);
  const local = join(p.dir, "big");
  await writeFile(local, pattern(4 * MIB, 1));
  await utimes(local, 1000, 1000);
  const other = await p.client.again();
  const never = new Promise<void>(() => {});
  let reached: () => void = () => {};
  const half = new Promise<void>((resolve) => (reached = resolve));
  const { dir, name } = await p.at("/big");
  const write = other.fs.write.bind(other.fs);
  other.fs.write = (handle, off, data) => {
    if (off < 2 * MIB) return write(handle, off, data);
    reached();
    return never.then(() => 0);
  };
  void putFile(new Files(other.fs, p.files.who), localPath(local), { dir, name, node: undefined }, options());
  await half;
  await other.fs.drain();
  await other.stop();
  // Only its beginning is another one.
  const changed = Buffer.concat([Buffer.alloc(MIB, "x"), pattern(4 * MIB, 1).subarray(MIB)]);
  await writeFile(local, changed);
  await utimes(local, 1000, 1000);
  await putFile(p.files, localPath(local), await p.at("/big"), options());
  t.ok((await content(p, "/big")).equals(changed));
});
