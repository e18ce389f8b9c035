/**
 * POSIX access control lists, as in acl(5) and the withdrawn POSIX 1003.1e draft 17. A list is kept as what it adds to
 * the permission bits: these are its entries of the owner, of the mask (or of the group, where nothing is added) and of
 * others. So chmod changes the list as the draft wants it, without knowing of it.
 */
import type { Cred } from "../../../proto/gen/bigfs/v1/meta.js";
import type { Acl, AclEntry, DefaultAcl, Xattr } from "../../../proto/gen/bigfs/v1/rows.js";
import { fail } from "../../../proto/errno.js";
import { LIMITS } from "../../../proto/limits.js";
import type { Inode } from "./inodes.js";

/** Extended attributes that stand for the lists. */
export const ACL_ACCESS = "system.posix_acl_access";
export const ACL_DEFAULT = "system.posix_acl_default";

/** A list as it is set and shown: permission bits (9 of them) and what they cannot say. */
export type AccessList = Readonly<DefaultAcl>;

// linux/posix_acl_xattr.h: a version, then tag (16 bits), permissions (16 bits) and id (32 bits) of each entry.
const VERSION = 2;
const HEADER = 4;
const ENTRY = 8;
const NO_ID = 0xffff_ffff;
const TAG = { owner: 1, user: 2, owningGroup: 4, group: 8, mask: 0x10, others: 0x20 } as const;

/** EINVAL for what is no list; undefined for one without entries, which takes the list away. */
export function parseAcl(value: Buffer): AccessList | undefined {
  const count = (value.length - HEADER) / ENTRY;
  if (count < 0 || !Number.isInteger(count)) fail("EINVAL", "an access control list of another length");
  if (value.readUInt32LE(0) !== VERSION) fail("EOPNOTSUPP", "an access control list of another version");
  if (count === 0) return undefined;
  if (count > LIMITS.aclEntriesMax)
    fail("ENOSPC", `an access control list has ${LIMITS.aclEntriesMax} entries at most`);
  const entries = Array.from({ length: count }, (_, n) => entryAt(value, HEADER + n * ENTRY));
  // In this order, each of the first, third and last once.
  let next = 0;
  const take = (tag: number) => {
    const entry = entries[next];
    if (entry?.tag !== tag) return undefined;
    next++;
    return entry;
  };
  const takeAll = (tag: number) => {
    const taken: AclEntry[] = [];
    for (let entry = take(tag); entry !== undefined; entry = take(tag)) taken.push({ id: entry.id, perm: entry.perm });
    return taken;
  };
  const owner = take(TAG.owner) ?? fail("EINVAL", "an access control list without its owner");
  const users = takeAll(TAG.user);
  const group = take(TAG.owningGroup) ?? fail("EINVAL", "an access control list without its group");
  const groups = takeAll(TAG.group);
  const mask = take(TAG.mask);
  const others = take(TAG.others) ?? fail("EINVAL", "an access control list without others");
  if (next < count) fail("EINVAL", "an access control list in another order");
  if (mask === undefined && users.length + groups.length > 0) fail("EINVAL", "an access control list without a mask");
  const bits = (middle: number) => (owner.perm << 6) | (middle << 3) | others.perm;
  if (mask === undefined) return { mode: bits(group.perm), acl: undefined };
  return { mode: bits(mask.perm), acl: { group: group.perm, users, groups } };
}

function entryAt(value: Buffer, at: number): AclEntry & { readonly tag: number } {
  const perm = value.readUInt16LE(at + 2);
  if (perm > 7) fail("EINVAL", "an access control list with unknown permissions");
  return { tag: value.readUInt16LE(at), perm, id: value.readUInt32LE(at + 4) };
}

/** As `parseAcl` takes it. */
export function formatAcl({ mode, acl }: AccessList): Buffer {
  const middle = (mode >> 3) & 7;
  const entries = [
    { tag: TAG.owner, id: NO_ID, perm: (mode >> 6) & 7 },
    ...(acl?.users ?? []).map((entry) => ({ tag: TAG.user, ...entry })),
    { tag: TAG.owningGroup, id: NO_ID, perm: acl?.group ?? middle },
    ...(acl?.groups ?? []).map((entry) => ({ tag: TAG.group, ...entry })),
    ...(acl === undefined ? [] : [{ tag: TAG.mask, id: NO_ID, perm: middle }]),
    { tag: TAG.others, id: NO_ID, perm: mode & 7 },
  ];
  const value = Buffer.alloc(HEADER + entries.length * ENTRY);
  value.writeUInt32LE(VERSION, 0);
  entries.forEach(({ tag, id, perm }, n) => {
    const at = value.writeUInt16LE(tag, HEADER + n * ENTRY);
    value.writeUInt32LE(id, value.writeUInt16LE(perm, at));
  });
  return value;
}

/** The lists of a node as extended attributes. What its mode says alone is none. */
export function aclXattrs({ mode, acl, defaultAcl }: Inode): Xattr[] {
  return [
    ...(acl === undefined ? [] : [{ name: Buffer.from(ACL_ACCESS), value: formatAcl({ mode, acl }) }]),
    ...(defaultAcl === undefined ? [] : [{ name: Buffer.from(ACL_DEFAULT), value: formatAcl(defaultAcl) }]),
  ];
}

/** The rwx bits that count for a caller who is not root; of groups the one that allows `mask`, if there is one. */
export function permissionsOf(who: Cred, { mode, uid, gid, acl }: Inode, mask: number): number {
  if (who.uid === uid) return (mode >> 6) & 7;
  const bound = (mode >> 3) & 7;
  const user = acl?.users.find(({ id }) => id === who.uid);
  if (user !== undefined) return user.perm & bound;
  const groups = [{ id: gid, perm: acl?.group ?? bound }, ...(acl?.groups ?? [])];
  const own = groups.filter(({ id }) => who.gid === id || who.groups.includes(id)).map(({ perm }) => perm & bound);
  if (own.length === 0) return mode & 7;
  return own.find((perm) => (perm & mask) === mask) ?? 0;
}

/** Permissions of what is made with `bits` in a folder with a default list; the umask does not count then. */
export function inheritedAcl(bits: number, { mode, acl }: AccessList): { readonly mode: number; readonly acl?: Acl } {
  const left = (bits & ~0o777) | (bits & mode & 0o777);
  return acl === undefined ? { mode: left } : { mode: left, acl };
}
