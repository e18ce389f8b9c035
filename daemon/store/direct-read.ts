import * as fs from "node:fs";
import { promisify } from "node:util";
import type { Range } from "../common/chunks/open-file.js";
import { ALIGNMENT, AlignedSlots } from "./aligned-slots.js";
import { Budget } from "./parallel.js";

/** Bytes of one read: a chunk of the default size with its header. */
const SLOT = 17 * 64 * 1024;
/** Reads at once; others wait. */
const SLOTS = 4;

const open = promisify(fs.open);
const read = promisify(fs.read);

const { O_RDONLY, O_NONBLOCK, O_NOFOLLOW, O_DIRECT } = fs.constants;

/**
 * Reads files from the disk, not from what memory has of them (O_DIRECT, open(2)): who wants to know whether bytes are on
 * a disk must not be shown those that were written and are still in the page cache. Nor does it push out what is read
 * there.
 */
export class DirectReads {
  readonly #slots = new AlignedSlots(SLOTS, SLOT);
  readonly #turns = new Budget(SLOTS);

  /**
   * The bytes of the range, which begins at a multiple of ALIGNMENT, fewer where the file ends. undefined: the filesystem
   * has no such reads. Rejects with Node's system errors.
   */
  read(path: string, range: Range): Promise<Buffer | undefined> {
    return this.#turns.run(1, async () => {
      const slot = this.#slots.take();
      if (slot === undefined) throw new Error("as many slots as turns");
      try {
        return await readInto(slot, path, range);
      } catch (error) {
        // Refused when it is opened, or only then.
        if ((error as NodeJS.ErrnoException).code !== "EINVAL") throw error;
        return undefined;
      } finally {
        this.#slots.give(slot);
      }
    });
  }
}

async function readInto(slot: Buffer, path: string, { off, len }: Range): Promise<Buffer> {
  const file = await open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_DIRECT);
  try {
    const bytes = Buffer.allocUnsafeSlow(len);
    for (let got = 0; got < len;) {
      const wanted = Math.min(slot.length, Math.ceil((len - got) / ALIGNMENT) * ALIGNMENT);
      const { bytesRead } = await read(file, slot, 0, wanted, off + got);
      slot.copy(bytes, got, 0, Math.min(bytesRead, len - got));
      got += bytesRead;
      // Only where the file ends is what was read not aligned.
      if (bytesRead === 0 || bytesRead % ALIGNMENT !== 0) return bytes.subarray(0, Math.min(got, len));
    }
    return bytes;
  } finally {
    fs.closeSync(file);
  }
}
