import { parseGetattr, parseSetattr, parseStatx, writeAttributes, writeStatx } from "../codec/attributes.js";
import { writeStatFs } from "../codec/statfs.js";
import { after, operation } from "./operation.js";
import { withoutPrivileges } from "./privileges.js";

export const getattr = operation({
  name: "getattr",
  parse: parseGetattr,
  run: (fs, head, handle) => fs.getattr(head.who, head.node, handle),
  reply(out, found) {
    writeAttributes(out, found);
    return undefined;
  },
});

export const statx = operation({
  name: "getattr",
  parse: parseStatx,
  run: (fs, head, handle) => fs.getattr(head.who, head.node, handle),
  reply(out, found) {
    writeStatx(out, found);
    return undefined;
  },
});

export const setattr = operation({
  name: "setattr",
  parse: parseSetattr,
  run(fs, head, { change, handle, killPrivileges }) {
    if (!killPrivileges || change.mode !== undefined) return fs.setattr(head.who, head.node, change, handle);
    return after(fs.getattr(head.who, head.node, handle), ({ attr }) => {
      const mode = withoutPrivileges(head.who, attr);
      return fs.setattr(head.who, head.node, mode === undefined ? change : { ...change, mode }, handle);
    });
  },
  reply(out, found) {
    writeAttributes(out, found);
    return undefined;
  },
});

export const access = operation({
  name: "access",
  parse: (cursor) => cursor.u32(),
  run: (fs, head, mask) => fs.access(head.who, head.node, mask),
});

export const statfs = operation({
  name: "statfs",
  parse: () => undefined,
  run: (fs) => fs.statfs(),
  reply(out, found) {
    writeStatFs(out, found);
    return undefined;
  },
});
