import { test } from "tap";
import { key } from "../../../../daemon/meta/keys.js";
import type { Name } from "../../../../proto/name.js";
import { NO_CHANGE, ROOT, World, bytes } from "./world.js";

interface Flags {
  noReplace?: boolean;
  exchange?: boolean;
  whiteout?: boolean;
}

function rename(world: World, from: [number, string], into: [number, string], flags: Flags = {}): string {
  const args = { fromDir: from[0], fromName: bytes(from[1]), intoDir: into[0], intoName: bytes(into[1]) };
  return world.errno(() => world.op("rename", { ...args, noReplace: false, exchange: false, ...flags }));
}

function dir(world: World, parent: number, name: string): number {
  return world.make(name, { dir: parent, mode: 0o040777 });
}

function links(world: World, ...inos: number[]): number[] {
  return inos.map((ino) => world.inode(ino).nlink);
}

test("a folder cannot move into itself, however deep, nor take the place of one that it is in", (t) => {
  const world = new World({ cold: true });
  const a = dir(world, 1, "a");
  let deep = a;
  for (let i = 0; i < 20; i++) deep = dir(world, deep, "d");
  t.equal(rename(world, [1, "a"], [deep, "x"]), "EINVAL");
  t.equal(rename(world, [1, "a"], [a, "x"]), "EINVAL");
  t.equal(rename(world, [deep, "d"], [1, "a"]), "ENOENT");
  dir(world, deep, "d");
  t.equal(rename(world, [deep, "d"], [1, "a"]), "ENOTEMPTY");
  t.equal(rename(world, [deep, "d"], [1, "a"], { exchange: true }), "EINVAL");
  t.equal(rename(world, [1, "a"], [1, "a"]), "");
  t.end();
});

test("moving a folder changes its parent, and the links of both folders", (t) => {
  const world = new World();
  const [a, b] = [dir(world, 1, "a"), dir(world, 1, "b")];
  const moved = dir(world, a, "m");
  t.equal(rename(world, [a, "m"], [b, "n"]), "");
  t.same(links(world, 1, a, b, moved), [4, 2, 3, 2]);
  t.equal(world.inode(moved).parent, b);
  const old = dir(world, a, "old");
  t.equal(rename(world, [b, "n"], [a, "old"]), "", "an empty folder is replaced");
  t.same(links(world, a, b), [3, 2]);
  t.equal(world.rows.get(key.inode(old)), undefined);
  t.equal(world.inode(a).children, 1);
  t.end();
});

test("exchanging a folder with a file in another folder moves both", (t) => {
  const world = new World();
  const [a, b] = [dir(world, 1, "a"), dir(world, 1, "b")];
  const sub = dir(world, a, "x");
  const file = world.make("y", { dir: b });
  t.equal(rename(world, [a, "x"], [b, "y"], { exchange: true }), "");
  t.equal(world.op("lookup", { dir: a, name: bytes("x") }).attr?.ino, file);
  t.equal(world.op("lookup", { dir: b, name: bytes("y") }).attr?.ino, sub);
  t.same(links(world, a, b), [2, 3]);
  t.equal(world.inode(sub).parent, b);
  t.equal(world.inode(file).parent, 0);
  t.equal(rename(world, [a, "x"], [b, "z"], { exchange: true }), "ENOENT");
  t.equal(rename(world, [a, "x"], [b, "y"], { exchange: true, noReplace: true }), "EINVAL");
  t.equal(rename(world, [a, "x"], [b, "y"], { noReplace: true }), "EEXIST");
  t.end();
});

test("two names of one file stay two names when one is renamed to the other", (t) => {
  const world = new World();
  const ino = world.make("a");
  world.op("link", { ino, dir: 1, name: bytes("b") });
  const before = world.inode(ino);
  t.equal(rename(world, [1, "a"], [1, "b"]), "");
  t.same(world.inode(ino), before);
  t.equal(rename(world, [1, "a"], [1, "b"], { noReplace: true }), "EEXIST");
  t.end();
});

test("a name that is replaced keeps its place in the listing, and one that is new comes last", (t) => {
  const world = new World();
  for (const name of ["a", "b", "c"]) world.make(name);
  const cookie = (name: string): number | undefined => world.rows.get(key.entry(1, name as Name))?.cookie;
  const [a, b, c] = ["a", "b", "c"].map(cookie);
  rename(world, [1, "a"], [1, "b"]);
  t.equal(cookie("b"), b);
  t.equal(world.rows.get(key.cookie(1, a ?? 0)), undefined);
  rename(world, [1, "b"], [1, "d"]);
  t.ok((cookie("d") ?? 0) > (c ?? 0));
  t.end();
});

test("sticky folders protect both what is moved and what it would replace", (t) => {
  const world = new World();
  const sticky = world.make("s", { mode: 0o041777 });
  const free = dir(world, 1, "f");
  world.make("root's", { dir: sticky });
  world.who = { ...ROOT, uid: 1000, gid: 1000 };
  world.make("mine", { dir: free });
  t.equal(rename(world, [free, "mine"], [sticky, "root's"]), "EPERM");
  t.equal(rename(world, [sticky, "root's"], [free, "x"]), "EPERM");
  t.equal(rename(world, [free, "mine"], [sticky, "x"]), "");
  t.equal(rename(world, [sticky, "x"], [sticky, "root's"], { exchange: true }), "EPERM");
  world.who = { ...world.who, uid: 2000, checked: true };
  t.equal(rename(world, [sticky, "x"], [sticky, "root's"], { exchange: true }), "", "unless the kernel has checked");
  t.end();
});

test("a whiteout stays under the old name, in its place of the listing, with the rights of what is made there", (t) => {
  const world = new World({ cold: true });
  const [a, b] = [dir(world, 1, "a"), dir(world, 1, "b")];
  world.op("setattr", { ...NO_CHANGE, ino: a, gid: 7, mode: 0o2777 });
  const [moved, replaced] = [dir(world, a, "x"), world.make("y", { dir: b })];
  t.equal(rename(world, [a, "x"], [b, "z"], { whiteout: true }), "");
  const left = world.op("lookup", { dir: a, name: bytes("x") }).attr;
  t.match(left, { mode: 0o020000, rdev: 0, nlink: 1, uid: ROOT.uid, gid: 7 });
  t.same(links(world, a, b), [2, 3]);
  t.equal(world.inode(a).children, 1);
  t.equal(world.inode(moved).parent, b);
  t.equal(rename(world, [a, "x"], [b, "y"], { whiteout: true }), "", "a whiteout is like any other name");
  t.equal(world.op("lookup", { dir: b, name: bytes("y") }).attr?.ino, left?.ino);
  t.equal(world.rows.get(key.inode(replaced)), undefined);
  t.equal(rename(world, [b, "y"], [b, "z"], { whiteout: true, noReplace: true }), "EEXIST");
  t.equal(rename(world, [b, "y"], [b, "z"], { whiteout: true, exchange: true }), "EINVAL");
  t.end();
});
