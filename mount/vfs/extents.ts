import { overlay } from "../../daemon/common/overlay.js";
import { fail } from "../../proto/errno.js";
import type { AttrReply } from "../../proto/gen/bigfs/v1/meta.js";
import { LIMITS } from "../../proto/limits.js";
import type { Ticket } from "./answers.js";
import { type Core, SELF, mustAttr } from "./core.js";
import type { FileState } from "./file-state.js";
import type { FileHandle, OpenFiles } from "./open-files.js";
import type { Reader } from "./reader/reader.js";

const SEEK_DATA = 3;

/** Of the modes of fallocate(2). */
const KEEP_SIZE = 1;

export interface ExtentsParts {
  readonly core: Core;
  readonly files: OpenFiles;
  readonly reader: Reader;
}

/** Which bytes of a file exist: allocated, punched out, copied by reference, searched. Works on what is stored. */
export class Extents {
  constructor(private readonly parts: ExtentsParts) {}

  fallocate(handle: number, mode: number, off: number, len: number): Promise<void> {
    const { core, files } = this.parts;
    core.mustBeWritable();
    const open = files.get(handle);
    if (!open.flags.write) fail("EBADF");
    if (off + len > LIMITS.fileSizeMax) fail("EFBIG");
    const { file } = open;
    return file.gate.run(async () => {
      if ((mode & ~KEEP_SIZE) === 0) await this.#mustHaveRoom(len - file.inode.attr.stored);
      await this.#store(open);
      const { ino } = file;
      await core.change("fallocate", { ino, off, len, mode }, { ino, who: SELF }, (reply, ticket) =>
        this.#reshaped(file, reply, ticket),
      );
    });
  }

  /** Nothing is set aside, but what could never be written is refused. Nodes that tell no capacity have no limit. */
  async #mustHaveRoom(bytes: number): Promise<void> {
    if (bytes <= 0) return;
    const { capacity, free } = await this.parts.core.ask("statfs", {}, SELF, (reply) => reply);
    if (capacity > 0 && bytes > free) fail("ENOSPC");
  }

  async copyRange(
    from: { handle: number; off: number },
    into: { handle: number; off: number },
    len: number,
  ): Promise<number> {
    const { core, files } = this.parts;
    core.mustBeWritable();
    const source = files.get(from.handle);
    const target = files.get(into.handle);
    if (!source.flags.read || !target.flags.write) fail("EBADF");
    const args = { fromIno: source.file.ino, fromOff: from.off, intoIno: target.file.ino, intoOff: into.off, len };
    if (source.file !== target.file) await this.#store(source);
    return target.file.gate.run(async () => {
      await this.#store(target);
      return core.change("copyrange", args, { ino: target.file.ino, who: SELF }, (reply, ticket) => {
        this.#reshaped(target.file, reply, ticket);
        return reply.copied;
      });
    });
  }

  async lseek(handle: number, off: number, whence: 3 | 4): Promise<number> {
    const open = this.parts.files.get(handle);
    const { file } = open;
    await file.writer.flush();
    file.inode.errors.tell(open);
    const { chunkSize } = this.parts.core.parts.meta.volume;
    for (let pos = off; ;) {
      const map = await this.parts.reader.slots(file, pos, pos + 1);
      if (pos >= map.size) return whence === SEEK_DATA || off >= map.size ? fail("ENXIO") : map.size;
      const start = pos % chunkSize;
      const end = Math.min(chunkSize, map.size - pos + start);
      const extents = overlay(map.slices(Math.floor(pos / chunkSize)), start, end - start);
      const hit = extents.find((extent) => (extent.slice !== undefined) === (whence === SEEK_DATA));
      if (hit !== undefined) return pos - start + hit.pos;
      pos += end - start;
    }
  }

  /** What was written until now is stored, or EIO. While the gate is held nothing is written after that. */
  async #store(open: FileHandle): Promise<void> {
    await open.file.writer.flush();
    open.file.inode.errors.tell(open);
  }

  #reshaped(file: FileState, reply: AttrReply, ticket: Ticket): void {
    const { core } = this.parts;
    const attr = mustAttr(reply.attr);
    core.inodes.keepPages(file.inode, attr, ticket);
    file.reshaped(attr);
    core.inodes.absorb(attr, reply.cached, ticket);
    core.answers.inodeChanged(attr.ino);
  }
}
