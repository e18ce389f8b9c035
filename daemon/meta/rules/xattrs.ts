import type { Done, GetXattrs, RemoveXattr, SetXattr, XattrsReply } from "../../../proto/gen/bigfs/v1/meta.js";
import type { Xattr } from "../../../proto/gen/bigfs/v1/rows.js";
import { fail } from "../../../proto/errno.js";
import { LIMITS } from "../../../proto/limits.js";
import { NAME_MAX, nameOf } from "../../../proto/name.js";
import { key } from "../keys.js";
import type { Tx } from "../tx.js";
import { accessAllowed, inGroup, isRoot, mustAllow, ownsInode } from "./access.js";
import { ACL_ACCESS, ACL_DEFAULT, aclXattrs, parseAcl } from "./acl.js";
import { type Context, mustBeWritable } from "./context.js";
import { type Inode, mustInode, putInode } from "./inodes.js";
import { R, S_ISGID, S_ISVTX, W, isDir, isFile, isSymlink } from "./modes.js";
import { changeTime } from "./times.js";

const XATTR_CREATE = 1;
const XATTR_REPLACE = 2;

/** Those that the caller may see: trusted.* is root's, user.* needs read access. */
export function getxattrs(tx: Tx, ctx: Context, args: GetXattrs): XattrsReply {
  const inode = mustInode(tx, args.ino);
  const readable = accessAllowed(ctx.who, inode, R);
  const seen = xattrsOf(tx, inode).filter(({ name }) => {
    const text = nameOf(name);
    if (text.startsWith("trusted.")) return isRoot(ctx.who);
    return readable || !text.startsWith("user.");
  });
  return { xattrs: [...seen, ...aclXattrs(inode)] };
}

/** EEXIST, ENODATA (flags); ERANGE (name or value too long); ENOSPC (all of them together). */
export function setxattr(tx: Tx, ctx: Context, args: SetXattr): Done {
  const inode = mustChange(tx, ctx, args.ino, args.name);
  if (isAcl(args.name)) return setAcl(tx, ctx, inode, args);
  if (args.value.length > LIMITS.xattrValueMax) fail("ERANGE");
  if ((args.flags & ~(XATTR_CREATE | XATTR_REPLACE)) !== 0) fail("EINVAL");
  const before = xattrsOf(tx, inode);
  const others = before.filter(({ name }) => !name.equals(args.name));
  const exists = others.length < before.length;
  if (exists && (args.flags & XATTR_CREATE) !== 0) fail("EEXIST");
  if (!exists && (args.flags & XATTR_REPLACE) !== 0) fail("ENODATA");
  const xattrs = [...others, { name: Buffer.from(args.name), value: Buffer.from(args.value) }];
  if (xattrs.reduce((sum, { name, value }) => sum + name.length + value.length, 0) > LIMITS.xattrsMax) fail("ENOSPC");
  return putXattrs(tx, ctx, inode, xattrs);
}

export function removexattr(tx: Tx, ctx: Context, args: RemoveXattr): Done {
  const inode = mustChange(tx, ctx, args.ino, args.name);
  if (isAcl(args.name)) return dropAcl(tx, ctx, inode, args.name);
  const before = xattrsOf(tx, inode);
  const others = before.filter(({ name }) => !name.equals(args.name));
  if (others.length === before.length) fail("ENODATA");
  return putXattrs(tx, ctx, inode, others);
}

function isAcl(name: Buffer): boolean {
  const text = nameOf(name);
  return text === ACL_ACCESS || text === ACL_DEFAULT;
}

/** EACCES: a default list is a folder's. The flags do not count, as on other filesystems. */
function setAcl(tx: Tx, ctx: Context, inode: Inode, { name, value, killSgid }: SetXattr): Done {
  const list = parseAcl(value);
  if (list === undefined) return dropAcl(tx, ctx, inode, name);
  const ctime = changeTime(ctx, inode);
  if (nameOf(name) === ACL_DEFAULT) {
    if (!isDir(inode)) fail("EACCES");
    putInode(tx, { ...inode, defaultAcl: list, ctime });
    return {};
  }
  const { who } = ctx;
  const keepGroupBit = who.checked ? !killSgid : isRoot(who) || inGroup(who, inode.gid);
  const kept = inode.mode & (keepGroupBit ? ~0o777 : ~(0o777 | S_ISGID));
  putInode(tx, { ...inode, mode: kept | list.mode, acl: list.acl, ctime });
  return {};
}

/** What is not there may be taken away. The permission bits stay as they are. */
function dropAcl(tx: Tx, ctx: Context, inode: Inode, name: Buffer): Done {
  const dropped = nameOf(name) === ACL_DEFAULT ? { defaultAcl: undefined } : { acl: undefined };
  putInode(tx, { ...inode, ...dropped, ctime: changeTime(ctx, inode) });
  return {};
}

function xattrsOf(tx: Tx, inode: Inode): readonly Xattr[] {
  return inode.hasXattrs ? (tx.get(key.xattrs(inode.ino))?.xattrs ?? []) : [];
}

function putXattrs(tx: Tx, ctx: Context, inode: Inode, xattrs: Xattr[]): Done {
  if (xattrs.length > 0) tx.put(key.xattrs(inode.ino), { xattrs });
  else tx.del(key.xattrs(inode.ino));
  putInode(tx, { ...inode, hasXattrs: xattrs.length > 0, ctime: ctx.now });
  return {};
}

/** The inode, when the caller may change an attribute of this name; the rules of each namespace as in xattr(7). */
function mustChange(tx: Tx, ctx: Context, ino: number, bytes: Buffer): Inode {
  const inode = mustInode(tx, ino);
  mustBeWritable(ctx);
  if (bytes.length === 0 || bytes.length > NAME_MAX) fail("ERANGE");
  const name = nameOf(bytes);
  if (name.includes("\0")) fail("EINVAL");
  const space = ["user.", "trusted.", "security."].find((prefix) => name.startsWith(prefix));
  if (name === space) fail("EINVAL");
  if (space === undefined && (!isAcl(bytes) || isSymlink(inode))) fail("EOPNOTSUPP");
  if (space === "user.") mustChangeUser(ctx, inode);
  else if (space === "trusted." && !isRoot(ctx.who)) fail("EPERM");
  else if (space === "security." && !isRoot(ctx.who) && !ctx.who.checked) fail("EPERM");
  else if (space === undefined && !ownsInode(ctx, inode)) fail("EPERM");
  return inode;
}

/** Files and folders only; in sticky folders the owner's. */
function mustChangeUser(ctx: Context, inode: Inode): void {
  if (!isFile(inode) && !isDir(inode)) fail("EPERM");
  if (isDir(inode) && (inode.mode & S_ISVTX) !== 0 && !ownsInode(ctx, inode)) fail("EPERM");
  mustAllow(ctx, inode, W);
}
