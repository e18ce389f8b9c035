import { fail } from "../../../proto/errno.js";
import type { Name } from "../../../proto/name.js";
import { answerSized, joinNames, parseGetXattr, parseListXattr, parseSetXattr } from "../codec/xattrs.js";
import { operation } from "./operation.js";

/**
 * Access control lists are attributes too, but they would be kept and not enforced: the kernel enforces them only when
 * the filesystem says that it handles inheritance and the mask. Refused, so that nobody relies on them.
 */
function mustBeKept(name: Name): void {
  if (name.startsWith("system.posix_acl_")) fail("EOPNOTSUPP");
}

export const getxattr = operation({
  name: "getxattr",
  parse: parseGetXattr,
  run(fs, head, { name }) {
    mustBeKept(name);
    return fs.getxattr(head.who, head.node, name);
  },
  reply: (out, value, { size }) => answerSized(out, value, size),
});

export const listxattr = operation({
  name: "listxattr",
  parse: parseListXattr,
  run: (fs, head) => fs.listxattr(head.who, head.node),
  reply: (out, xattrs, size) => answerSized(out, joinNames(xattrs.map((xattr) => xattr.name)), size),
});

export const setxattr = operation({
  name: "setxattr",
  parse: (cursor, { agreed }) => parseSetXattr(cursor, agreed),
  run(fs, head, { name, value, flags }) {
    mustBeKept(name);
    return fs.setxattr(head.who, head.node, name, value, flags);
  },
});

export const removexattr = operation({
  name: "removexattr",
  parse: (cursor) => cursor.xattrName(),
  run(fs, head, name) {
    mustBeKept(name);
    return fs.removexattr(head.who, head.node, name);
  },
});
