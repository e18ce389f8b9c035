import { answerSized, joinNames, parseGetXattr, parseListXattr, parseSetXattr } from "../codec/xattrs.js";
import { operation } from "./operation.js";

export const getxattr = operation({
  name: "getxattr",
  parse: parseGetXattr,
  run: (fs, head, { name }) => fs.getxattr(head.who, head.node, name),
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
  run: (fs, head, change) => fs.setxattr(head.who, head.node, change),
});

export const removexattr = operation({
  name: "removexattr",
  parse: (cursor) => cursor.xattrName(),
  run: (fs, head, name) => fs.removexattr(head.who, head.node, name),
});
