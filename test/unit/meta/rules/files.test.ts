import { test } from "tap";
import type { Cred } from "../../../../proto/gen/bigfs/v1/meta.js";
import { LIMITS } from "../../../../proto/limits.js";
import { key } from "../../../../daemon/meta/keys.js";
import { NO_CHANGE, ROOT, World, bytes } from "./world.js";

const ALICE: Cred = { uid: 1000, gid: 1000, groups: [], checked: false };
const BY_KERNEL: Cred = { ...ALICE, checked: true };

interface Create {
  readonly truncate?: boolean;
  readonly exclusive?: boolean;
  readonly access?: number;
  readonly unnamed?: boolean;
}

function create(world: World, opts: Create = {}): number {
  const flags = { open: true, exclusive: false, truncate: false, access: 2, ...opts };
  const rest = { dir: 1, name: bytes("f"), mode: 0o100644, rdev: 0, target: Buffer.alloc(0), umask: 0 };
  return world.op("make", { ...rest, ...flags }).attr?.ino ?? 0;
}

test("opening with O_CREAT makes a file once, and truncates what is there when asked to", (t) => {
  const world = new World();
  const ino = create(world);
  world.write(ino, 0, bytes("text"));
  t.equal(create(world), ino);
  t.equal(world.inode(ino).size, 4);
  t.equal(
    world.errno(() => create(world, { exclusive: true })),
    "EEXIST",
  );
  t.equal(create(world, { truncate: true }), ino);
  t.equal(world.inode(ino).size, 0);
  world.who = ALICE;
  t.equal(
    world.errno(() => create(world)),
    "EACCES",
  );
  t.equal(create(world, { access: 4 }), ino);
  world.who = ROOT;
  world.op("unlink", { dir: 1, name: bytes("f") });
  world.make("f", { mode: 0o040755 });
  t.equal(
    world.errno(() => create(world)),
    "EISDIR",
  );
  t.end();
});

test("opening answers with the first slots and where their chunks are", (t) => {
  const world = new World();
  const ino = world.make("f");
  world.write(ino, 0, Buffer.alloc(100, 1));
  const reply = world.op("open", { ino, access: 4, truncate: false });
  t.equal(reply.slots?.slots.length, 4);
  t.same(
    reply.slots?.chunks.map(({ nodes }) => nodes),
    [[1, 2]],
  );
  t.equal(reply.slots?.attr?.size, 100);
  const truncated = world.op("open", { ino, access: 2, truncate: true });
  t.equal(truncated.attr?.size, 0);
  t.same(truncated.slots?.slots, []);
  t.end();
});

test("folders, links and files without permission do not open for writing", (t) => {
  const world = new World();
  const dir = world.make("d", { mode: 0o040755 });
  const link = world.make("l", { mode: 0o120777, target: "x" });
  const file = world.make("f", { mode: 0o100600 });
  const errno = (ino: number, access: number): string => {
    return world.errno(() => world.op("open", { ino, access, truncate: false }));
  };
  t.equal(errno(dir, 2), "EISDIR");
  t.equal(errno(dir, 4), "");
  t.equal(errno(link, 4), "ELOOP");
  world.who = ALICE;
  t.equal(errno(file, 4), "EACCES");
  world.who = BY_KERNEL;
  t.equal(errno(file, 4), "", "the kernel has checked");
  world.readOnly = true;
  t.equal(errno(file, 2), "EROFS");
  t.end();
});

test("an open file outlives its last name and is gone for those who do not have it open", (t) => {
  const world = new World();
  const ino = world.make("f");
  world.write(ino, 0, bytes("text"));
  world.open.add(ino);
  world.op("unlink", { dir: 1, name: bytes("f") });
  t.equal(world.inode(ino).nlink, 0);
  t.equal(world.read(ino).toString(), "text");
  t.ok(world.rows.get(key.orphan(ino)));
  world.open.delete(ino);
  t.equal(
    world.errno(() => world.op("open", { ino, access: 4, truncate: false })),
    "ESTALE",
  );
  t.equal(
    world.errno(() => world.op("link", { ino, dir: 1, name: bytes("g") })),
    "ENOENT",
  );
  t.ok(world.reap(ino));
  t.notOk(world.reap(ino));
  t.equal(
    world.errno(() => world.op("getattr", { ino })),
    "ESTALE",
  );
  t.same(world.rows.get(key.usage), { inodes: 1, bytes: 0 });
  t.end();
});

test("a file without a name lives as long as it is open, and may be given one name", (t) => {
  const world = new World();
  const link = (ino: number, name: string) => world.errno(() => world.op("link", { ino, dir: 1, name: bytes(name) }));
  const ino = create(world, { unnamed: true });
  t.equal(world.inode(ino).nlink, 0);
  t.equal(world.inode(1).children, 0);
  t.equal(link(ino, "f"), "");
  t.equal(world.inode(ino).nlink, 1);
  t.notOk(world.reap(ino), "with a name it is no orphan");
  world.open.add(ino);
  world.op("unlink", { dir: 1, name: bytes("f") });
  t.equal(link(ino, "again"), "ENOENT", "the first name was the last chance");
  world.open.delete(ino);
  t.ok(world.reap(ino));

  const other = create(world, { unnamed: true });
  t.ok(world.reap(other));
  t.same(world.rows.get(key.usage), { inodes: 1, bytes: 0 });
  world.who = ALICE;
  t.equal(
    world.errno(() => create(world, { unnamed: true })),
    "EACCES",
  );
  world.readOnly = true;
  t.equal(
    world.errno(() => create(world, { unnamed: true })),
    "EROFS",
  );
  t.end();
});

test("a file replaced by a rename while it is open keeps its data until it is closed", (t) => {
  const world = new World();
  const old = world.make("f");
  world.write(old, 0, bytes("old"));
  const fresh = world.make("tmp");
  world.open.add(old);
  const flags = { noReplace: false, exchange: false };
  world.op("rename", { fromDir: 1, fromName: bytes("tmp"), intoDir: 1, intoName: bytes("f"), ...flags });
  t.equal(world.op("lookup", { dir: 1, name: bytes("f") }).attr?.ino, fresh);
  t.equal(world.read(old).toString(), "old");
  t.ok(world.reap(old));
  t.end();
});

test("a session that may only read changes nothing", (t) => {
  const world = new World();
  const ino = world.make("f");
  world.readOnly = true;
  const name = bytes("f");
  t.equal(
    world.errno(() => world.make("g")),
    "EROFS",
  );
  t.equal(
    world.errno(() => world.op("unlink", { dir: 1, name })),
    "EROFS",
  );
  t.equal(
    world.errno(() => world.op("setattr", { ...NO_CHANGE, ino, mode: 0 })),
    "EROFS",
  );
  t.equal(
    world.errno(() => world.commit(ino, { slices: world.inlineAt(0, bytes("x")) })),
    "EROFS",
  );
  t.equal(
    world.errno(() => world.op("setxattr", { ino, name: bytes("user.a"), value: name, flags: 0, killSgid: false })),
    "EROFS",
  );
  t.equal(
    world.errno(() => world.op("access", { ino, mask: 2 })),
    "EROFS",
  );
  t.equal(
    world.errno(() => world.make("f")),
    "EEXIST",
    "what is there is told first, as on Linux",
  );
  t.equal(world.op("getattr", { ino }).attr?.ino, ino);
  t.end();
});

test("a file has at most as many names as ext4 allows", (t) => {
  const world = new World();
  const ino = world.make("f");
  world.rows.run((tx) => {
    tx.put(key.inode(ino), { ...world.inode(ino), nlink: LIMITS.linkMax - 1 });
  });
  world.op("link", { ino, dir: 1, name: bytes("g") });
  t.equal(
    world.errno(() => world.op("link", { ino, dir: 1, name: bytes("h") })),
    "EMLINK",
  );
  t.end();
});

test("symbolic links have their limits, and only they have a target", (t) => {
  const world = new World();
  const make = (target: string): string => world.errno(() => world.make("l", { mode: 0o120000, target }));
  t.equal(make(""), "ENOENT");
  t.equal(make("x".repeat(LIMITS.targetMax + 1)), "ENAMETOOLONG");
  const ino = world.make("l", { mode: 0o120000, target: "\xff/x" });
  t.same(world.op("readlink", { ino }).target, bytes("\xff/x"));
  t.equal(world.inode(ino).size, 3);
  t.equal(
    world.errno(() => world.op("readlink", { ino: 1 })),
    "EINVAL",
  );
  t.end();
});

test("devices are made by root only, or when the kernel has checked", (t) => {
  const world = new World();
  world.op("setattr", { ...NO_CHANGE, ino: 1, mode: 0o777 });
  world.who = ALICE;
  t.equal(
    world.errno(() => world.make("c", { mode: 0o020666 })),
    "EPERM",
  );
  world.who = BY_KERNEL;
  t.equal(
    world.errno(() => world.make("c", { mode: 0o020666 })),
    "",
  );
  t.end();
});

test("extended attributes have limits, and each namespace its own rules", (t) => {
  const world = new World();
  const ino = world.make("f", { mode: 0o100644 });
  const set = (name: string, size: number): string => {
    return world.errno(() =>
      world.op("setxattr", { ino, name: bytes(name), value: Buffer.alloc(size), flags: 0, killSgid: false }),
    );
  };
  t.equal(set("user.big", LIMITS.xattrValueMax + 1), "ERANGE");
  t.equal(set(`user.${"n".repeat(255)}`, 1), "ERANGE");
  t.equal(set("user.", 1), "EINVAL");
  t.equal(set("other.x", 1), "EOPNOTSUPP");
  t.equal(set("trusted.t", 1), "");
  t.equal(set("user.a", LIMITS.xattrValueMax), "");
  t.equal(set("user.b", LIMITS.xattrValueMax), "ENOSPC");
  t.equal(set("user.a", 1), "", "what it replaces does not count");
  const names = (): string[] =>
    world
      .op("getxattrs", { ino })
      .xattrs.map(({ name }) => name.toString())
      .sort();
  t.same(names(), ["trusted.t", "user.a"]);
  world.who = ALICE;
  t.same(names(), ["user.a"]);
  t.equal(set("user.a", 1), "EACCES");
  t.equal(set("system.posix_acl_access", 28), "EPERM");
  t.end();
});

test("what the kernel has decided is taken as it says", (t) => {
  const world = new World();
  const ino = world.make("f", { mode: 0o100600 });
  world.who = BY_KERNEL;
  world.op("setattr", { ...NO_CHANGE, ino, mode: 0o102755 });
  t.equal(world.inode(ino).mode, 0o102755, "it knows all groups of the caller");
  world.op("setattr", { ...NO_CHANGE, ino, uid: 5 });
  t.equal(world.inode(ino).uid, 5);
  t.end();
});

test("fallocate grows files, keeps sizes when asked, and knows its modes", (t) => {
  const world = new World();
  const ino = world.make("f");
  const dir = world.make("d", { mode: 0o040755 });
  const errno = (mode: number, ino: number, len = 1): string => {
    return world.errno(() => world.op("fallocate", { ino, off: 99, len, mode }));
  };
  t.equal(errno(1, ino), "");
  t.equal(world.inode(ino).size, 0);
  t.equal(errno(0, ino), "");
  t.equal(world.inode(ino).size, 100);
  t.equal(errno(2, ino), "EOPNOTSUPP");
  t.equal(errno(8, ino), "EOPNOTSUPP");
  t.equal(errno(0, ino, 0), "EINVAL");
  t.equal(errno(0, ino, LIMITS.fileSizeMax), "EFBIG");
  t.equal(errno(0, dir), "EISDIR");
  t.end();
});

test("a copy by reference that one operation cannot hold is shorter, and goes on where it ended", (t) => {
  const world = new World();
  const from = world.make("f");
  const into = world.make("g");
  const data = Buffer.from(Array.from({ length: 16 * 700 }, (_, i) => 1 + (i % 250)));
  world.write(from, 0, data.subarray(0, 16 * 200));
  world.write(from, 16 * 200, data.subarray(16 * 200));
  let done = 0;
  let calls = 0;
  for (; done < data.length; calls++) {
    const { copied } = world.op("copyrange", {
      fromIno: from,
      fromOff: done,
      intoIno: into,
      intoOff: done + 5,
      len: data.length - done,
    });
    if (copied === 0) break;
    done += copied;
  }
  t.ok(calls > 1);
  t.ok(world.read(into).subarray(5).equals(data));
  t.end();
});
