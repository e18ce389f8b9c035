import { fail } from "../../../proto/errno.js";
import type { Operation } from "../answers.js";
import { joined } from "../stat.js";
import type { Context } from "./context.js";

const O_ACCMODE = 3;
const O_RDONLY = 0;
const O_WRONLY = 1;
const O_TRUNC = 0o1000;
/** O_DSYNC, which O_SYNC has too. */
const O_DSYNC = 0o10000;

export function fileOperations({ fs, who, paths, table }: Context): Record<string, Operation> {
  return {
    // There is no create: it would not be told the flags. So the kernel asks for mknod and open.
    open: {
      name: "open",
      async run(path: string, flags: number) {
        const ino = await paths.ino(path);
        const access = flags & O_ACCMODE;
        const { handle } = await fs.open(who, ino, {
          read: access !== O_WRONLY,
          write: access !== O_RDONLY,
          // The kernel has chosen the offset when it writes, also after fcntl(2) has changed this.
          append: false,
          truncate: (flags & O_TRUNC) !== 0,
          sync: (flags & O_DSYNC) !== 0,
        });
        return [table.addFile(path, { ino, handle })];
      },
    },
    read: {
      name: "read",
      always: (_path: string, _number: number, into: Buffer) => [0, into.buffer],
      async run(_path: string, number: number, into: Buffer, size: number, low: number, high: number) {
        const off = joined(low, high);
        if (off > Number.MAX_SAFE_INTEGER) return 0;
        const data = fs.read(table.forBytes(number).handle, off, size);
        return (data instanceof Promise ? await data : data).copy(into, 0, 0, size);
      },
    },
    write: {
      name: "write",
      always: (_path: string, _number: number, from: Buffer) => [0, from.buffer],
      run(_path: string, number: number, from: Buffer, size: number, low: number, high: number) {
        const off = joined(low, high);
        if (off > Number.MAX_SAFE_INTEGER) fail("EFBIG");
        return fs.write(table.forBytes(number).handle, off, from.subarray(0, size));
      },
    },
    flush: {
      name: "flush",
      run: (_path: string, number: number) => fs.flush(table.get(number).handle),
    },
    release: {
      name: "release",
      run: (_path: string, number: number) => fs.release(table.remove(number).handle),
    },
    fsync: {
      name: "fsync",
      run: (_path: string, dataOnly: number, number: number) => fs.fsync(table.get(number).handle, dataOnly !== 0),
    },
  };
}
