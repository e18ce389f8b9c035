import { constants } from "node:os";
import { FsError } from "../../proto/errno.js";
import { nameOf, type Name } from "../../proto/name.js";
import type { KernelCache } from "../vfs/filesystem.js";
import { INIT2, type Agreed } from "./codec/init.js";
import { EPOCH_MINOR, incrementEpoch, invalidateEntry, invalidateInode } from "./codec/notifications.js";
import type { PendingRequests } from "./pending.js";

/** Carries notifications. Results: 0 or -errno. */
export interface Notifications {
  /** By a thread; `lane` keeps those that may wait for an answer of ours away from those that do not. */
  notify(lane: "attributes" | "blocking", message: Buffer): Promise<number>;
  /** In this thread: only what never waits. */
  notifyNow(message: Buffer): number;
}

/** No file has this name: to drop it does nothing but wait for the folder's lock. */
const NOBODYS = nameOf(Buffer.from([0]));

/** Names that may be under way to the kernel one by one; beyond it all names are dropped at once. */
const ENTRIES_UNDER_WAY = 1024;

const { ENOENT, ENODEV, ENOTCONN, ENOTDIR, EPERM } = constants.errno;
/** The threads have been stopped. */
const ESHUTDOWN = 108;

/** Nothing is cached where the kernel knows nothing of it, or has unmounted. */
const NOTHING_CACHED = new Set([ENOENT, ENOTDIR, ENODEV, ENOTCONN, EPERM, ESHUTDOWN].map((errno) => -errno));

function settle(result: number): void {
  if (result >= 0 || NOTHING_CACHED.has(result)) return;
  throw new FsError("EIO", `the kernel refused to drop a cached entry (errno ${-result})`);
}

/**
 * Tells the kernel what to forget. It needs the folder's lock to drop a name, and whoever asks us something about that
 * folder holds it until we answer; our answer may wait for another mount that waits for this very drop. So a name in a
 * folder with an unanswered request, or that gets one meanwhile, is dropped by a new epoch, which takes no lock.
 * A kernel without epochs drops such a name as soon as that request is answered; nobody waits for it.
 */
export class KernelNotifier implements KernelCache {
  readonly #parts: { readonly notifications: Notifications; readonly pending: PendingRequests };
  readonly #epochs: boolean;
  readonly #expire: boolean;
  #underWay = 0;
  /** Folders whose pages are being waited for, and whether epochs have begun since. */
  readonly #taken = new Map<number, { isLate: boolean }>();

  constructor(parts: { notifications: Notifications; pending: PendingRequests }, agreed: Agreed) {
    this.#parts = parts;
    this.#epochs = agreed.minor >= EPOCH_MINOR;
    this.#expire = (agreed.flags2 & INIT2.hasExpireOnly) !== 0;
  }

  async dropAttributes(ino: number): Promise<void> {
    settle(await this.#parts.notifications.notify("attributes", invalidateInode(ino, undefined)));
  }

  async dropData(ino: number, off: number, len: number): Promise<void> {
    settle(await this.#parts.notifications.notify("blocking", invalidateInode(ino, { off, len })));
  }

  /**
   * A name that only expires lives again when a lookup that was answered before is taken in after it: the kernel holds no
   * lock while it looks up what it knows. So this is for folders only, where there are no epochs.
   */
  async dropEntry(dir: number, name: Name, isFolder: boolean): Promise<void> {
    const { notifications, pending } = this.#parts;
    const crowded = pending.busy(dir) || this.#underWay >= ENTRIES_UNDER_WAY;
    if ((crowded || isFolder) && this.dropAllEntries()) return;
    this.#underWay++;
    const dropped = notifications
      .notify("blocking", invalidateEntry(dir, name, isFolder && this.#expire))
      .finally(() => this.#underWay--)
      .then(settle);
    await this.#orBusy(dir, dropped, crowded);
  }

  dropAllEntries(): boolean {
    if (!this.#epochs) return false;
    const { pending } = this.#parts;
    this.#beginEpoch();
    for (const dir of pending.linking) this.#whenTaken(dir);
    return true;
  }

  #beginEpoch(): void {
    this.#parts.pending.epoch++;
    settle(this.#parts.notifications.notifyNow(incrementEpoch()));
  }

  /**
   * The kernel counts names of a page to the epoch in which it takes them in, which may begin after the page was answered
   * and hold names that were dropped with it. It has the folder's lock for that long; so when that can be had, there is
   * one more epoch. Nobody waits for it: whoever has that lock may be waiting for us.
   */
  #whenTaken(dir: number): void {
    const waiting = this.#taken.get(dir);
    if (waiting !== undefined) {
      waiting.isLate = true;
      return;
    }
    const begun = { isLate: false };
    this.#taken.set(dir, begun);
    const taken = this.#parts.notifications.notify("blocking", invalidateEntry(dir, NOBODYS, false));
    const goOn = () => {
      this.#taken.delete(dir);
      if (begun.isLate && this.#parts.pending.linking.has(dir)) this.#whenTaken(dir);
      this.#beginEpoch();
    };
    // The kernel took the epoch before this one; a connection that has ended has no names.
    taken.then(goOn).catch(() => {});
  }

  /** Resolves when the name is dropped, or its folder is busy and a new epoch has done it (where there are epochs). */
  #orBusy(dir: number, dropped: Promise<void>, busy: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const giveUpWaiting = () => {
        try {
          this.dropAllEntries();
          resolve();
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      };
      const unwatch = this.#parts.pending.onBusy(dir, giveUpWaiting);
      dropped.then(resolve, reject).finally(unwatch).catch(reject);
      if (busy) resolve();
    });
  }
}
