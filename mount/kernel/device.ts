import type { Addon, WatchHandle } from "./addon.js";
import type { Notifications } from "./cache.js";
import type { Device } from "./session.js";
import type { Workers } from "./workers.js";

const NO_BYTES = Buffer.alloc(0);

/** An open /dev/fuse. It owns the descriptor. */
export class FuseDevice implements Device, Notifications {
  readonly #addon: Addon;
  readonly #workers: Workers;
  readonly #fd: number;
  #watch: WatchHandle | undefined;
  #closed = false;

  constructor(parts: { addon: Addon; workers: Workers }, fd: number) {
    this.#addon = parts.addon;
    this.#workers = parts.workers;
    this.#fd = fd;
  }

  read(into: Buffer): number {
    return this.#addon.read(this.#fd, into);
  }

  write(head: Buffer, length: number, body: Buffer): number {
    return this.#addon.write(this.#fd, head, length, body);
  }

  notify(lane: "attributes" | "blocking", message: Buffer): Promise<number> {
    return this.#workers.write(lane, this.#fd, message);
  }

  notifyNow(message: Buffer): number {
    return this.#addon.write(this.#fd, message, message.length, NO_BYTES);
  }

  /** `readable` is called again and again while there is something to read, also when the connection has ended. */
  watch(readable: () => void): void {
    this.#watch = this.#addon.watch(this.#fd, readable);
  }

  unwatch(): void {
    if (this.#watch !== undefined) this.#addon.unwatch(this.#watch);
    this.#watch = undefined;
  }

  /** The kernel then fails what it has not got answers for. */
  close(): void {
    this.unwatch();
    if (!this.#closed) this.#addon.close(this.#fd);
    this.#closed = true;
  }
}
