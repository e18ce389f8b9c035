import type { ClientFrame, ServerFrame } from "../../../proto/gen/bigfs/v1/meta.js";
import type { Tx } from "../tx.js";
import { access, getattr, lookup, readlink } from "./attributes.js";
import { commit } from "./commit.js";
import { compact } from "./compact.js";
import type { Context } from "./context.js";
import { copyrange } from "./copyrange.js";
import { fallocate } from "./fallocate.js";
import { link } from "./link.js";
import { make } from "./make.js";
import { open } from "./open.js";
import { slots } from "./read-slots.js";
import { rename } from "./rename.js";
import { setattr } from "./setattr.js";
import { rmdir, unlink } from "./unlink.js";
import { getxattrs, removexattr, setxattr } from "./xattrs.js";

type Op = NonNullable<ClientFrame["op"]>;
type Answer = NonNullable<ServerFrame["op"]>;

/** Requests that are answered from rows alone, by the name of their case in ClientFrame. */
export type RuleName =
  | "lookup"
  | "getattr"
  | "access"
  | "setattr"
  | "make"
  | "link"
  | "unlink"
  | "rmdir"
  | "rename"
  | "open"
  | "readlink"
  | "getxattrs"
  | "setxattr"
  | "removexattr"
  | "slots"
  | "commit"
  | "compact"
  | "fallocate"
  | "copyrange";

export type OpArgs<C extends RuleName> = Extract<Op, { $case: C }>["value"];
export type OpResult<C extends RuleName> = Extract<Answer, { $case: C }>["value"];
export type Rule<C extends RuleName> = (tx: Tx, ctx: Context, args: OpArgs<C>) => OpResult<C>;

/** `cached` flags in the answers are false: leases are the service's. */
export type Operations = { readonly [C in RuleName]: Rule<C> };

export const OPERATIONS: Operations = {
  lookup,
  getattr,
  access,
  setattr,
  make,
  link,
  unlink,
  rmdir,
  rename,
  open,
  readlink,
  getxattrs,
  setxattr,
  removexattr,
  slots,
  commit,
  compact,
  fallocate,
  copyrange,
};
