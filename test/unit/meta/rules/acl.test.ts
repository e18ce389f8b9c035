import { test } from "tap";
import { ACL_ACCESS, ACL_DEFAULT, formatAcl, parseAcl, permissionsOf } from "../../../../daemon/meta/rules/acl.js";
import { newInode } from "../../../../daemon/meta/rules/inodes.js";
import { LIMITS } from "../../../../proto/limits.js";
import { World } from "./world.js";

const NO_ID = 0xffff_ffff;

/** An extended attribute of these entries: tag, permissions, id. */
function list(...entries: readonly (readonly [tag: number, perm: number, id?: number])[]): Buffer {
  const words = entries.flatMap(([tag, perm, id = NO_ID]) => [tag | (perm << 16), id]);
  return Buffer.from(new Uint32Array([2, ...words]).buffer);
}

const BOB = 1001;
const STAFF = 50;
const EXTENDED = list([1, 6], [2, 7, BOB], [4, 4], [8, 5, STAFF], [16, 5], [32, 0]);

test("a list is permission bits and what they cannot say", (t) => {
  const found = parseAcl(EXTENDED);
  t.same(found, {
    mode: 0o650,
    acl: { group: 4, users: [{ id: BOB, perm: 7 }], groups: [{ id: STAFF, perm: 5 }] },
  });
  t.same(found && formatAcl(found), EXTENDED);
  t.same(parseAcl(list([1, 6], [4, 4], [32, 1])), { mode: 0o641, acl: undefined });
  t.equal(parseAcl(list()), undefined);
  t.end();
});

test("what is no list is refused", (t) => {
  const bad: Record<string, Buffer> = {
    "another length": EXTENDED.subarray(0, -1),
    "nothing at all": Buffer.alloc(0),
    "no owner": list([4, 4], [32, 0]),
    "no group": list([1, 4], [32, 0]),
    "no others": list([1, 4], [4, 0]),
    "two owners": list([1, 4], [1, 4], [4, 0], [32, 0]),
    "another order": list([1, 4], [4, 0], [2, 4, BOB], [16, 4], [32, 0]),
    "no mask": list([1, 4], [2, 4, BOB], [4, 0], [32, 0]),
    "more than others": list([1, 4], [4, 4], [32, 0], [32, 0]),
    "an unknown entry": list([1, 4], [4, 4], [64, 0], [32, 0]),
    "unknown permissions": list([1, 8], [4, 4], [32, 0]),
  };
  const world = new World();
  for (const [what, value] of Object.entries(bad))
    t.equal(
      world.errno(() => parseAcl(value)),
      "EINVAL",
      what,
    );
  const version = Buffer.from(EXTENDED);
  version.writeUInt32LE(3, 0);
  t.equal(
    world.errno(() => parseAcl(version)),
    "EOPNOTSUPP",
  );
  const many = Array.from({ length: LIMITS.aclEntriesMax }, (_, id) => [2, 4, id] as const);
  t.equal(
    world.errno(() => parseAcl(list([1, 4], ...many, [4, 0], [16, 0], [32, 0]))),
    "ENOSPC",
  );
  t.end();
});

test("the owner, then users by name, then groups of which one must allow it all, then others", (t) => {
  const acl = {
    group: 4,
    users: [
      { id: BOB, perm: 7 },
      { id: 1002, perm: 0 },
    ],
    groups: [
      { id: STAFF, perm: 3 },
      { id: 51, perm: 4 },
    ],
  };
  const now = { sec: 0, nsec: 0 };
  const node = { ...newInode({ ino: 9, mode: 0o100461, uid: 1000, gid: 100, now }), acl };
  const who = (uid: number, gid: number, groups: number[] = []) => ({ uid, gid, groups, checked: false });
  t.equal(permissionsOf(who(1000, 100), node, 2), 4, "the owner's bits, whatever the groups may");
  t.equal(permissionsOf(who(BOB, 100), node, 7), 6, "the mask bounds it");
  t.equal(permissionsOf(who(1002, 100), node, 4), 0, "and its groups do not count");
  t.equal(permissionsOf(who(7, 100), node, 4), 4, "the owning group");
  t.equal(permissionsOf(who(7, 100), node, 2), 0);
  t.equal(permissionsOf(who(7, 100, [STAFF]), node, 2), 2, "another group allows it");
  t.equal(permissionsOf(who(7, 100, [STAFF]), node, 6), 0, "two groups together do not");
  t.equal(permissionsOf(who(7, 51), node, 1), 0, "who is in a group is not one of the others");
  t.equal(permissionsOf(who(7, 7), node, 1), 1);
  t.end();
});

test("rules check lists for whom no kernel has checked", (t) => {
  const world = new World();
  const ino = world.make("f", { mode: 0o100600 });
  const set = (value: Buffer) =>
    world.op("setxattr", { ino, name: Buffer.from(ACL_ACCESS), value, flags: 0, killSgid: false });
  set(EXTENDED);
  const open = (access: number) => world.errno(() => world.op("open", { ino, access, truncate: false }));
  world.who = { uid: BOB, gid: 7, groups: [], checked: false };
  t.equal(open(4), "");
  t.equal(open(2), "EACCES", "the mask does not let it");
  t.equal(
    world.errno(() => set(EXTENDED)),
    "EPERM",
    "only its owner sets a list",
  );
  world.who = { uid: 1002, gid: 7, groups: [], checked: false };
  t.equal(open(4), "EACCES");
  t.end();
});

test("what is made in a folder gets its default list, and the umask does not count", (t) => {
  const world = new World();
  const dir = world.make("d", { mode: 0o040755 });
  const name = Buffer.from(ACL_DEFAULT);
  const value = list([1, 7], [2, 7, BOB], [4, 5], [16, 7], [32, 5]);
  world.op("setxattr", { ino: dir, name, value, flags: 0, killSgid: false });
  const xattrs = (ino: number) =>
    Object.fromEntries(world.op("getxattrs", { ino }).xattrs.map((xattr) => [xattr.name.toString(), xattr.value]));
  const mode = (ino: number) => (world.op("getattr", { ino }).attr?.mode ?? 0) & 0o7777;

  const file = world.make("f", { dir, mode: 0o100640, umask: 0o077 });
  t.equal(mode(file), 0o640);
  t.same(xattrs(file), { [ACL_ACCESS]: list([1, 6], [2, 7, BOB], [4, 5], [16, 4], [32, 0]) });
  t.equal(world.op("getattr", { ino: file }).attr?.hasXattrs, true);

  const sub = world.make("s", { dir, mode: 0o040777, umask: 0o077 });
  t.same(xattrs(sub), { [ACL_ACCESS]: value, [ACL_DEFAULT]: value });

  const link = world.make("l", { dir, mode: 0o120777, target: "f" });
  t.same(xattrs(link), {});

  world.op("removexattr", { ino: dir, name });
  t.equal(mode(world.make("g", { dir, mode: 0o100666, umask: 0o022 })), 0o644);
  t.equal(
    world.errno(() => world.op("setxattr", { ino: file, name, value, flags: 0, killSgid: false })),
    "EACCES",
  );
  t.end();
});

test("a list sets permission bits, chmod sets its mask, and setgid goes when the kernel says so", (t) => {
  const world = new World();
  const ino = world.make("f", { mode: 0o102755 });
  const name = Buffer.from(ACL_ACCESS);
  const mode = () => (world.op("getattr", { ino }).attr?.mode ?? 0) & 0o7777;
  world.op("setxattr", { ino, name, value: EXTENDED, flags: 0, killSgid: false });
  t.equal(mode(), 0o2650);
  const same = { uid: undefined, gid: undefined, size: undefined, atime: undefined, mtime: undefined };
  world.op("setattr", { ino, ...same, mode: 0o2710, atimeNow: false, mtimeNow: false });
  const shown = list([1, 7], [2, 7, BOB], [4, 4], [8, 5, STAFF], [16, 1], [32, 0]);
  t.same(world.op("getxattrs", { ino }).xattrs, [{ name, value: shown }]);

  world.who = { uid: 0, gid: 0, groups: [], checked: true };
  world.op("setxattr", { ino, name, value: list([1, 6], [4, 4], [32, 4]), flags: 0, killSgid: true });
  t.equal(mode(), 0o644);
  t.same(world.op("getxattrs", { ino }).xattrs, [], "nothing that the bits do not say");
  t.end();
});
