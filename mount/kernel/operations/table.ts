import { OPCODE } from "../codec/opcodes.js";
import { access, getattr, setattr, statfs, statx } from "./attributes.js";
import {
  copyFileRange,
  copyFileRange64,
  create,
  fallocate,
  flush,
  fsync,
  lseek,
  open,
  read,
  release,
  tmpfile,
  write,
} from "./files.js";
import { fsyncdir, opendir, readdir, readdirplus, releasedir } from "./folders.js";
import { destroy, interrupt } from "./lifecycle.js";
import { getlk, setlk, setlkw } from "./locks.js";
import {
  batchForget,
  forget,
  link,
  lookup,
  mkdir,
  mknod,
  readlink,
  rename,
  rename2,
  rmdir,
  symlink,
  unlink,
} from "./names.js";
import type { Operation } from "./operation.js";
import { getxattr, listxattr, removexattr, setxattr } from "./xattrs.js";

/** Every kind of request but INIT, which is the session's own. */
const OPERATIONS: { readonly [K in Exclude<keyof typeof OPCODE, "init">]: Operation } = {
  lookup,
  forget,
  getattr,
  setattr,
  readlink,
  symlink,
  mknod,
  mkdir,
  unlink,
  rmdir,
  rename,
  link,
  open,
  read,
  write,
  statfs,
  release,
  fsync,
  setxattr,
  getxattr,
  listxattr,
  removexattr,
  flush,
  opendir,
  readdir,
  releasedir,
  fsyncdir,
  getlk,
  setlk,
  setlkw,
  access,
  create,
  interrupt,
  destroy,
  batchForget,
  fallocate,
  readdirplus,
  rename2,
  lseek,
  copyFileRange,
  tmpfile,
  statx,
  copyFileRange64,
};

const BY_OPCODE: readonly (Operation | undefined)[] = (() => {
  const table: (Operation | undefined)[] = [];
  for (const [name, operation] of Object.entries(OPERATIONS)) {
    table[OPCODE[name as keyof typeof OPERATIONS]] = operation;
  }
  return table;
})();

/** Undefined: ENOSYS. */
export function operationOf(opcode: number): Operation | undefined {
  return BY_OPCODE[opcode];
}
