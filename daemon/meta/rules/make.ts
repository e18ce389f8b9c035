import type { EntryReply, Make } from "../../../proto/gen/bigfs/v1/meta.js";
import { fail } from "../../../proto/errno.js";
import { LIMITS } from "../../../proto/limits.js";
import { key } from "../keys.js";
import type { Tx } from "../tx.js";
import { inGroup, isRoot, mustAllow } from "./access.js";
import { inheritedAcl } from "./acl.js";
import { entryReply } from "./attributes.js";
import { type Context, mustBeWritable } from "./context.js";
import { addEntry, findPlace } from "./entries.js";
import { type Inode, changeUsage, mustFolder, mustInode, newInode } from "./inodes.js";
import {
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
  S_ISGID,
  S_IXGRP,
  W,
  X,
  isDir,
  isFile,
} from "./modes.js";
import { openChecked } from "./open.js";

const TYPES: readonly number[] = [S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK];

type NewNode = Pick<Make, "mode" | "umask" | "rdev" | "target" | "open">;

/** mknod, mkdir, symlink, and open with O_CREAT or O_TMPFILE. */
export function make(tx: Tx, ctx: Context, args: Make): EntryReply {
  if (args.unnamed === true) return makeUnnamed(tx, ctx, args);
  const { folder, name, entry } = findPlace(tx, ctx, args.dir, args.name);
  if (entry !== undefined) return entryReply(openExisting(tx, ctx, args, mustInode(tx, entry.ino)));
  mustBeWritable(ctx);
  mustAllow(ctx, folder, W);
  const inode = newNode(ctx, args, folder);
  tx.put(key.inode(inode.ino), inode);
  addEntry(tx, ctx, args.dir, name, inode);
  changeUsage(tx, { inodes: 1 });
  return entryReply(inode);
}

/** It lives as long as it is open, unless it is given a name. */
function makeUnnamed(tx: Tx, ctx: Context, args: Make): EntryReply {
  const folder = mustFolder(tx, args.dir);
  mustBeWritable(ctx);
  mustAllow(ctx, folder, W | X);
  if (!args.open) fail("EINVAL", "what has no name must be opened");
  const inode = { ...newNode(ctx, args, folder), nlink: 0, neverNamed: true };
  tx.put(key.inode(inode.ino), inode);
  tx.put(key.orphan(inode.ino), { ino: inode.ino });
  changeUsage(tx, { inodes: 1 });
  return entryReply(inode);
}

/** With the folder's group and lists as they are inherited; nothing names it yet. */
export function newNode(ctx: Context, args: NewNode, folder: Inode): Inode {
  const type = typeToMake(ctx, args);
  const target = type === S_IFLNK ? checkedTarget(args.target) : Buffer.alloc(0);
  const gid = (folder.mode & S_ISGID) !== 0 ? folder.gid : ctx.who.gid;
  const { mode, acl } = permissions(ctx, args, type, folder);
  const made = newInode({
    ino: ctx.freshIno(),
    mode: type | mode,
    uid: ctx.who.uid,
    gid,
    now: ctx.now,
  });
  return {
    ...made,
    ...inheritedCount(type, folder),
    parent: type === S_IFDIR ? folder.ino : 0,
    rdev: type === S_IFCHR || type === S_IFBLK ? args.rdev : 0,
    size: type === S_IFLNK ? target.length : made.size,
    target,
    acl,
    defaultAcl: type === S_IFDIR ? folder.defaultAcl : undefined,
  };
}

function inheritedCount(type: number, { replicas, replicasSeq }: Inode): Partial<Inode> {
  return type === S_IFDIR || type === S_IFREG ? { replicas, replicasSeq } : {};
}

/**
 * The name exists. ESTALE for what the kernel would have opened otherwise than by asking here, had it known of it: it
 * looks the name up again.
 */
function openExisting(tx: Tx, ctx: Context, args: Make, node: Inode): Inode {
  if (!args.open || args.exclusive) fail("EEXIST");
  if (isDir(node)) fail("EISDIR");
  if (!isFile(node)) fail("ESTALE");
  return openChecked(tx, ctx, node, { access: args.access, truncate: args.truncate });
}

function typeToMake(ctx: Context, args: NewNode): number {
  const type = (args.mode & S_IFMT) === 0 ? S_IFREG : args.mode & S_IFMT;
  if (!TYPES.includes(type)) fail("EINVAL");
  if (args.open && type !== S_IFREG) fail("EINVAL");
  const device = type === S_IFCHR || type === S_IFBLK;
  if (device && !isRoot(ctx.who) && !ctx.who.checked) fail("EPERM");
  return type;
}

function checkedTarget(target: Buffer): Buffer {
  if (target.length === 0) fail("ENOENT");
  if (target.length > LIMITS.targetMax) fail("ENAMETOOLONG");
  if (target.includes(0)) fail("EINVAL");
  return Buffer.from(target);
}

/** Permissions of the new node: the folder's default list or the umask decides. */
function permissions(ctx: Context, args: NewNode, type: number, folder: Inode): Pick<Inode, "mode" | "acl"> {
  if (type === S_IFLNK) return { mode: 0o777 };
  const { defaultAcl } = folder;
  if (defaultAcl !== undefined) return inheritedAcl(permissionBits(ctx, args.mode, type, folder), defaultAcl);
  return { mode: permissionBits(ctx, args.mode & ~args.umask, type, folder) };
}

/** Folders in setgid folders are setgid too. */
function permissionBits(ctx: Context, mode: number, type: number, folder: Inode): number {
  const inherits = (folder.mode & S_ISGID) !== 0;
  const bits = mode & (type === S_IFDIR ? 0o1777 : 0o7777);
  if (type === S_IFDIR) return inherits ? bits | S_ISGID : bits;
  const executableByGroup = (bits & (S_ISGID | S_IXGRP)) === (S_ISGID | S_IXGRP);
  const trusted = ctx.who.checked || isRoot(ctx.who) || inGroup(ctx.who, folder.gid);
  return inherits && executableByGroup && !trusted ? bits & ~S_ISGID : bits;
}
