/**
 * A naive filesystem of objects, for comparison: names, modes, owners, links and extended attributes as Linux has them
 * on ext4. Checks come in the order in which Linux makes them.
 */
import { fail } from "../../../../proto/errno.js";
import type { Cred } from "../../../../proto/gen/bigfs/v1/meta.js";

export interface Node {
  ino: number;
  type: "file" | "dir" | "symlink" | "fifo";
  mode: number;
  uid: number;
  gid: number;
  links: number;
  parent: Node | undefined;
  children: Map<string, Node>;
  xattrs: Map<string, string>;
  mtime: number;
  ctime: number;
  target: string;
}

export class Model {
  readonly root: Node;
  now: number;
  who: Cred = { uid: 0, gid: 0, groups: [], checked: false };

  constructor(now: number) {
    this.now = now;
    this.root = { ...this.#node("dir", 0o755), ino: 1, links: 1 };
    this.root.parent = this.root;
  }

  make(dir: Node, name: string, want: { type: Node["type"]; mode: number; umask: number }): Node {
    this.#search(dir, name);
    if (dir.children.has(name)) fail("EEXIST");
    this.#need(dir, 2);
    const node = this.#node(want.type, want.mode & ~want.umask);
    const inherits = (dir.mode & 0o2000) !== 0;
    if (inherits) node.gid = dir.gid;
    if (want.type === "symlink") node.mode = 0o777;
    if (want.type === "dir") node.mode = (node.mode & 0o1777) | (inherits ? 0o2000 : 0);
    else if (inherits && (node.mode & 0o2010) === 0o2010 && !this.#root() && !this.#member(dir.gid))
      node.mode &= ~0o2000;
    this.#attach(dir, name, node);
    return node;
  }

  link(node: Node, dir: Node, name: string): void {
    this.#search(dir, name);
    if (dir.children.has(name)) fail("EEXIST");
    this.#need(dir, 2);
    if (node.type === "dir") fail("EPERM");
    if (node.links === 0) fail("ENOENT");
    this.#attach(dir, name, node);
    node.ctime = this.now;
  }

  unlink(dir: Node, name: string, rmdir: boolean): Node {
    this.#search(dir, name);
    const node = dir.children.get(name);
    if (node === undefined) fail("ENOENT");
    this.#mayDelete(dir, node);
    if (rmdir && node.type !== "dir") fail("ENOTDIR");
    if (!rmdir && node.type === "dir") fail("EISDIR");
    if (node.children.size > 0) fail("ENOTEMPTY");
    this.#detach(dir, name);
    node.ctime = this.now;
    return node;
  }

  /** Returns the node that lost a name, if any. */
  rename(
    from: { dir: Node; name: string },
    into: { dir: Node; name: string },
    flag: "" | "noreplace" | "exchange",
  ): Node | undefined {
    this.#search(from.dir, from.name);
    const node = from.dir.children.get(from.name);
    if (node === undefined) fail("ENOENT");
    this.#search(into.dir, into.name);
    const old = into.dir.children.get(into.name);
    if (old !== undefined && flag === "noreplace") fail("EEXIST");
    if (old === undefined && flag === "exchange") fail("ENOENT");
    if (above(node, into.dir)) fail("EINVAL");
    if (old !== undefined && above(old, from.dir)) fail(flag === "exchange" ? "EINVAL" : "ENOTEMPTY");
    if (node === old) return undefined;
    this.#mayDelete(from.dir, node);
    if (old === undefined) this.#need(into.dir, 3);
    else {
      this.#mayDelete(into.dir, old);
      if (flag !== "exchange" && node.type === "dir" && old.type !== "dir") fail("ENOTDIR");
      if (flag !== "exchange" && node.type !== "dir" && old.type === "dir") fail("EISDIR");
    }
    const moved = from.dir !== into.dir;
    if (moved && node.type === "dir") this.#need(node, 2);
    if (moved && flag === "exchange" && old?.type === "dir") this.#need(old, 2);
    if (flag !== "exchange" && old !== undefined && old.children.size > 0) fail("ENOTEMPTY");
    this.#detach(from.dir, from.name);
    if (old !== undefined) this.#detach(into.dir, into.name);
    this.#attach(into.dir, into.name, node);
    if (old !== undefined && flag === "exchange") this.#attach(from.dir, from.name, old);
    node.ctime = this.now;
    if (old !== undefined) old.ctime = this.now;
    return flag === "exchange" ? undefined : old;
  }

  chmod(node: Node, mode: number): void {
    if (!this.#owner(node)) fail("EPERM");
    node.mode = mode & 0o7777;
    if (!this.#root() && !this.#member(node.gid)) node.mode &= ~0o2000;
    node.ctime = this.now;
  }

  chown(node: Node, uid: number | undefined, gid: number | undefined): void {
    const allowed = this.who.uid === node.uid && (uid ?? node.uid) === node.uid;
    if (!this.#root() && !(allowed && (gid === undefined || gid === node.gid || this.#member(gid)))) fail("EPERM");
    if (node.type !== "dir") {
      const executable = (node.mode & 0o10) !== 0;
      node.mode &= ~0o4000;
      if (executable || !(this.#root() || this.#member(node.gid))) node.mode &= ~0o2000;
    }
    node.uid = uid ?? node.uid;
    node.gid = gid ?? node.gid;
    node.ctime = this.now;
  }

  utimes(node: Node, mtime: number | "now"): void {
    if (!this.#owner(node)) {
      if (mtime !== "now") fail("EPERM");
      this.#need(node, 2);
    }
    node.mtime = mtime === "now" ? this.now : mtime;
    node.ctime = this.now;
  }

  truncate(node: Node): void {
    if (node.type === "dir") fail("EISDIR");
    if (node.type !== "file") fail("EINVAL");
    this.#need(node, 2);
    if (!this.#root()) node.mode &= (node.mode & 0o10) !== 0 || !this.#member(node.gid) ? ~0o6000 : ~0o4000;
    node.mtime = node.ctime = this.now;
  }

  setxattr(node: Node, name: string, value: string | undefined, flag: number): void {
    if (name.startsWith("trusted.") && !this.#root()) fail("EPERM");
    if (name.startsWith("user.")) {
      if (node.type !== "file" && node.type !== "dir") fail("EPERM");
      if (node.type === "dir" && (node.mode & 0o1000) !== 0 && !this.#owner(node)) fail("EPERM");
      this.#need(node, 2);
    }
    const has = node.xattrs.has(name);
    if (value !== undefined && flag === 1 && has) fail("EEXIST");
    if (!has && (flag === 2 || value === undefined)) fail("ENODATA");
    if (value === undefined) node.xattrs.delete(name);
    else node.xattrs.set(name, value);
    node.ctime = this.now;
  }

  lookup(dir: Node, name: string): Node | undefined {
    this.#search(dir, name);
    return dir.children.get(name);
  }

  allowed(node: Node, mask: number): boolean {
    if (this.#root()) return mask !== 1 || node.type === "dir" || (node.mode & 0o111) !== 0;
    if (this.who.uid === node.uid) return ((node.mode >> 6) & mask) === mask;
    if (this.#member(node.gid)) return ((node.mode >> 3) & mask) === mask;
    return (node.mode & mask) === mask;
  }

  #node(type: Node["type"], mode: number): Node {
    const { uid, gid } = this.who;
    const times = { mtime: this.now, ctime: this.now };
    const empty = { children: new Map(), xattrs: new Map(), links: 0, parent: undefined, ino: 0, target: "" };
    return { type, mode, uid, gid, ...times, ...empty };
  }

  #search(dir: Node, name: string): void {
    if (dir.type !== "dir") fail("ENOTDIR");
    if (dir.links === 0) fail("ENOENT");
    if (name.length > 255) fail("ENAMETOOLONG");
    this.#need(dir, 1);
  }

  #mayDelete(dir: Node, node: Node): void {
    this.#need(dir, 3);
    if ((dir.mode & 0o1000) !== 0 && !this.#root() && ![dir.uid, node.uid].includes(this.who.uid)) fail("EPERM");
  }

  #attach(dir: Node, name: string, node: Node): void {
    dir.children.set(name, node);
    dir.mtime = dir.ctime = this.now;
    node.links += 1;
    if (node.type === "dir") node.parent = dir;
  }

  #detach(dir: Node, name: string): void {
    const node = dir.children.get(name);
    dir.children.delete(name);
    dir.mtime = dir.ctime = this.now;
    if (node !== undefined) node.links -= 1;
  }

  #need(node: Node, mask: number): void {
    for (const bit of [4, 2, 1]) if ((mask & bit) !== 0 && !this.allowed(node, bit)) fail("EACCES");
  }

  #owner(node: Node): boolean {
    return this.#root() || this.who.uid === node.uid;
  }

  #root(): boolean {
    return this.who.uid === 0;
  }

  #member(gid: number): boolean {
    return this.who.gid === gid || this.who.groups.includes(gid);
  }
}

/** Whether `node` is the folder or one that it lies in. */
function above(node: Node, folder: Node): boolean {
  for (let at = folder; ; at = at.parent) {
    if (at === node) return true;
    if (at.parent === at || at.parent === undefined) return false;
  }
}
