import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "tap";
import type { Cred } from "../../../../proto/gen/bigfs/v1/meta.js";
import { FsError } from "../../../../proto/errno.js";
import { nameBytes, nameOf } from "../../../../proto/name.js";
import { idIn, key, nameIn } from "../../../../daemon/meta/keys.js";
import { accessAllowed } from "../../../../daemon/meta/rules/access.js";
import { reapOrphan } from "../../../../daemon/meta/rules/drop.js";
import { Model, type Node } from "./posix-model.js";
import { NO_CHANGE, World, bytes } from "./world.js";

const NAMES = ["a", "b", "c", "\xff\xfe", "n".repeat(255), "n".repeat(256)];
const TYPES = { file: 0o100000, dir: 0o040000, symlink: 0o120000, fifo: 0o010000 } as const;
const PEOPLE: readonly Cred[] = [
  { uid: 0, gid: 0, groups: [], checked: false },
  { uid: 1000, gid: 1000, groups: [], checked: false },
  { uid: 1001, gid: 1001, groups: [1000], checked: false },
];

const who = fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 2, arbitrary: fc.nat(2) });
const at = fc.nat(30);
const name = fc.oneof({ weight: 9, arbitrary: fc.constantFrom(0, 1, 2, 3) }, { weight: 1, arbitrary: fc.nat(5) });
/** Mostly one that exists. */
const known = fc.oneof({ weight: 3, arbitrary: fc.integer({ min: 100, max: 110 }) }, { weight: 1, arbitrary: name });
const mode = fc.oneof(fc.constantFrom(0o755, 0o777, 0o1777, 0o2775, 0o700, 0o6755, 0o2644, 0o070), fc.nat(0o7777));
const type = fc.constantFrom("file" as const, "dir" as const, "dir" as const, "symlink" as const, "fifo" as const);
const id = fc.option(fc.constantFrom(0, 1000, 1001), { nil: undefined });

const command = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("make" as const),
      who,
      at,
      name,
      type,
      mode,
      umask: fc.constantFrom(0, 0o22),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("link" as const), who, at, name, node: at }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("unlink" as const), who, at, name: known, rmdir: fc.boolean() }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("rename" as const),
      who,
      at,
      name: known,
      to: at,
      toName: fc.oneof(name, known),
      flag: fc.constantFrom("" as const, "" as const, "noreplace" as const, "exchange" as const),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("chmod" as const), who, at, mode }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("chown" as const), who, at, uid: id, gid: id }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("utimes" as const),
      who,
      at,
      mtime: fc.constantFrom("now" as const, 5, -7),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("truncate" as const), who, at }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("xattr" as const),
      who,
      at,
      key: fc.constantFrom("user.x", "trusted.t"),
      value: fc.constantFrom("1", "2", undefined),
      flag: fc.nat(2),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("look" as const), who, at, name: known, mask: fc.nat(7) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("hold" as const), who, at, held: fc.boolean() }) },
);
type Command = typeof command extends fc.Arbitrary<infer T> ? T : never;

/** What a command's numbers stand for at the moment; the second pair is for link and rename. */
interface Aim {
  readonly node: Node;
  readonly name: string;
  readonly other: Node;
  readonly otherName: string;
}

class Run {
  readonly world: World;
  readonly model: Model;
  /** Every node that has a row: named, or held open. */
  nodes: Node[];
  readonly held = new Set<Node>();
  succeeded = 0;

  constructor(cold: boolean) {
    this.world = new World({ cold });
    this.model = new Model(this.world.clock);
    this.nodes = [this.model.root];
    this.#do({ do: "chmod", who: 0, at: 0, mode: 0o777 });
  }

  step(c: Command): void {
    const errno = this.#do(c);
    if (errno === "") this.succeeded += 1;
  }

  /** Does it in both and compares the errno. */
  #do(c: Command): string {
    const { world, model } = this;
    const cred = PEOPLE[c.who] as Cred;
    world.who = model.who = cred;
    const aim = this.#aim(c);
    if (c.do === "hold") return this.#hold(aim.node, c.held);
    model.now = world.clock + 1;
    let after: (() => void) | undefined;
    let expected = "";
    try {
      after = this.#inModel(c, aim);
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
      expected = error.errno;
    }
    const made = { ino: 0 };
    assert.equal(
      world.errno(() => (made.ino = this.#inWorld(c, aim))),
      expected,
    );
    for (const fresh of this.nodes) if (fresh.ino === 0) fresh.ino = made.ino;
    after?.();
    return expected;
  }

  #node(index: number): Node {
    return this.nodes[index % this.nodes.length] as Node;
  }

  #aim(c: Command): Aim {
    const node = "name" in c ? this.#folder(c.at) : this.#node(c.at);
    const name = "name" in c ? this.#name(node, c.name) : "";
    if (c.do === "link") return { node, name, other: this.#node(c.node), otherName: "" };
    if (c.do !== "rename") return { node, name, other: node, otherName: "" };
    const other = this.#folder(c.to);
    return { node, name, other, otherName: this.#name(other, c.toName) };
  }

  /** Mostly a folder. */
  #folder(index: number): Node {
    const folders = this.nodes.filter((node) => node.type === "dir");
    return index % 8 === 7 ? this.#node(index) : (folders[index % folders.length] as Node);
  }

  #name(folder: Node, index: number): string {
    const names = [...folder.children.keys()];
    return index < 100 ? (NAMES[index] as string) : (names[index % names.length] ?? "a");
  }

  #inModel(c: Command, { node, name, other, otherName }: Aim): (() => void) | undefined {
    const { model } = this;
    switch (c.do) {
      case "make": {
        const made = model.make(node, name, c);
        this.nodes = [...this.nodes, made];
        return undefined;
      }
      case "link":
        return void model.link(other, node, name);
      case "unlink": {
        const gone = model.unlink(node, name, c.rmdir);
        return () => this.#forget(gone);
      }
      case "rename": {
        const from = { dir: node, name };
        const into = { dir: other, name: otherName };
        const gone = model.rename(from, into, c.flag);
        return () => gone !== undefined && this.#forget(gone);
      }
      case "chmod":
        return void model.chmod(node, c.mode);
      case "chown":
        return c.uid === undefined && c.gid === undefined ? undefined : void model.chown(node, c.uid, c.gid);
      case "utimes":
        return void model.utimes(node, c.mtime);
      case "truncate":
        return void model.truncate(node);
      case "xattr":
        return void model.setxattr(node, c.key, c.value, c.flag);
      case "look":
        return void model.lookup(node, name);
      case "hold":
        return undefined;
    }
  }

  #inWorld(c: Command, { node: { ino }, other, ...names }: Aim): number {
    const { world } = this;
    const name = bytes(names.name);
    switch (c.do) {
      case "make": {
        const target = c.type === "symlink" ? bytes("target") : Buffer.alloc(0);
        const args = { dir: ino, name, mode: TYPES[c.type] | c.mode, umask: c.umask, target };
        const made = world.op("make", { ...args, rdev: 0, open: false, exclusive: true, truncate: false, access: 0 });
        return made.attr?.ino ?? 0;
      }
      case "link":
        world.op("link", { ino: other.ino, dir: ino, name });
        return 0;
      case "unlink":
        world.op(c.rmdir ? "rmdir" : "unlink", { dir: ino, name });
        return 0;
      case "rename": {
        const into = { intoDir: other.ino, intoName: bytes(names.otherName) };
        const flags = { noReplace: c.flag === "noreplace", exchange: c.flag === "exchange" };
        world.op("rename", { fromDir: ino, fromName: name, ...into, ...flags });
        return 0;
      }
      case "chmod":
        world.op("setattr", { ...NO_CHANGE, ino, mode: c.mode });
        return 0;
      case "chown":
        if (c.uid !== undefined || c.gid !== undefined)
          world.op("setattr", { ...NO_CHANGE, ino, uid: c.uid, gid: c.gid });
        else world.clock += 1;
        return 0;
      case "utimes": {
        const explicit = c.mtime === "now" ? {} : { mtime: { sec: c.mtime, nsec: 0 } };
        const nows = { atimeNow: c.mtime === "now", mtimeNow: c.mtime === "now" };
        world.op("setattr", { ...NO_CHANGE, ino, ...nows, ...explicit });
        return 0;
      }
      case "truncate":
        world.op("setattr", { ...NO_CHANGE, ino, size: 0 });
        return 0;
      case "xattr":
        if (c.value === undefined) world.op("removexattr", { ino, name: bytes(c.key) });
        else world.op("setxattr", { ino, name: bytes(c.key), value: bytes(c.value), flags: c.flag, killSgid: false });
        return 0;
      case "look":
        world.op("lookup", { dir: ino, name });
        return 0;
      case "hold":
        return 0;
    }
  }

  #hold(node: Node, held: boolean): string {
    if (held) {
      this.held.add(node);
      this.world.open.add(node.ino);
      return "";
    }
    this.held.delete(node);
    this.world.open.delete(node.ino);
    assert.equal(
      this.world.rows.run((tx) => reapOrphan(tx, node.ino)),
      node.links === 0,
    );
    this.#forget(node);
    return "";
  }

  #forget(node: Node): void {
    if (node.links === 0 && !this.held.has(node)) this.nodes = this.nodes.filter((one) => one !== node);
  }

  check(): void {
    const { rows } = this.world;
    const nodes = this.nodes.toSorted((a, b) => a.ino - b.ino);
    assert.deepEqual(
      rows.of("I").map(([at]) => idIn(at)),
      nodes.map((node) => node.ino),
    );
    for (const node of nodes) this.#checkNode(node);
    this.#checkEntries();
    const orphans = nodes.filter((node) => node.links === 0).map((node) => node.ino);
    assert.deepEqual(
      rows.of("O").map(([at]) => idIn(at)),
      orphans,
    );
    assert.deepEqual({ ...rows.get(key.usage) }, { inodes: nodes.length, bytes: 0 });
    const attributed = nodes.filter((node) => node.xattrs.size > 0).map((node) => node.ino);
    assert.deepEqual(
      rows.of("X").map(([at]) => idIn(at)),
      attributed,
    );
  }

  #checkNode(node: Node): void {
    const row = this.world.inode(node.ino);
    const folders = [...node.children.values()].filter((child) => child.type === "dir").length;
    const seen = {
      ino: row.ino,
      mode: row.mode,
      uid: row.uid,
      gid: row.gid,
      nlink: row.nlink,
      mtime: row.mtime?.sec,
      ctime: row.ctime?.sec,
    };
    const { ino, uid, gid, mtime, ctime } = node;
    const nlink = node.type !== "dir" ? node.links : node.links === 0 ? 0 : 2 + folders;
    assert.deepEqual(seen, { ino, mode: TYPES[node.type] | node.mode, uid, gid, nlink, mtime, ctime });
    assert.equal(row.children, node.children.size);
    if (node.type === "dir" && node.links > 0) assert.equal(row.parent, node.parent?.ino);
    for (const cred of PEOPLE) {
      this.model.who = cred;
      for (const mask of [1, 2, 4]) assert.equal(accessAllowed(cred, row, mask), this.model.allowed(node, mask));
    }
    const xattrs = this.world.rows.get(key.xattrs(node.ino))?.xattrs ?? [];
    const pairs = xattrs.map(({ name, value }) => [nameOf(name), value.toString()] as const);
    assert.deepEqual(new Map(pairs), node.xattrs);
  }

  #checkEntries(): void {
    const { rows } = this.world;
    const wanted = this.nodes.flatMap((dir) =>
      [...dir.children].map(([name, child]) => `${dir.ino} ${name} ${child.ino}`),
    );
    const entries = rows.of("E");
    assert.deepEqual(entries.map(([at, row]) => `${idIn(at)} ${nameIn(at)} ${row.ino}`).sort(), wanted.sort());
    assert.equal(rows.of("C").length, entries.length);
    for (const [at, entry] of entries) {
      const dir = idIn(at);
      const cookie = rows.get(key.cookie(dir, entry.cookie));
      assert.deepEqual({ ...cookie }, { name: nameBytes(nameIn(at)), ino: entry.ino, type: entry.type });
      assert.equal(entry.type, this.world.inode(entry.ino).mode & 0o170000);
      assert.ok(entry.cookie >= 3 && entry.cookie < this.world.inode(dir).nextCookie);
    }
  }
}

for (const cold of [false, true]) {
  const rows = cold ? "on rows that are loaded as it goes" : "on rows in memory";
  test(`names, modes, owners, links and errors are as on a local filesystem, ${rows}`, (t) => {
    let succeeded = 0;
    fc.assert(
      fc.property(fc.array(command, { minLength: 1, maxLength: 60, size: "max" }), (commands) => {
        const run = new Run(cold);
        for (const c of commands) {
          run.step(c);
          run.check();
        }
        succeeded += run.succeeded;
      }),
      { numRuns: cold ? 30 : 400 },
    );
    t.ok(succeeded > 0);
    t.end();
  });
}
