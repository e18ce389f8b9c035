import type { ClientFrame, ServerFrame } from "../../../proto/gen/bigfs/v1/meta.js";
import { fail } from "../../../proto/errno.js";
import type { Tx } from "../tx.js";
import type { Context } from "./context.js";

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
  | "fallocate"
  | "copyrange";

export type OpArgs<C extends RuleName> = Extract<Op, { $case: C }>["value"];
export type OpResult<C extends RuleName> = Extract<Answer, { $case: C }>["value"];
export type Rule<C extends RuleName> = (tx: Tx, ctx: Context, args: OpArgs<C>) => OpResult<C>;

/** `cached` flags in the answers are false: leases are the service's. */
export type Operations = { readonly [C in RuleName]: Rule<C> };

const unwritten = (): never => fail("ENOSYS");

export const OPERATIONS: Operations = {
  lookup: unwritten,
  getattr: unwritten,
  access: unwritten,
  setattr: unwritten,
  make: unwritten,
  link: unwritten,
  unlink: unwritten,
  rmdir: unwritten,
  rename: unwritten,
  open: unwritten,
  readlink: unwritten,
  getxattrs: unwritten,
  setxattr: unwritten,
  removexattr: unwritten,
  slots: unwritten,
  commit: unwritten,
  fallocate: unwritten,
  copyrange: unwritten,
};
