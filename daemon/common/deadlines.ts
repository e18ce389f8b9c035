/** Every interval and deadline, in milliseconds. Daemons take them as options; tests make them small. */
export interface Deadlines {
  /** A session's lease. */
  leaseMs: number;
  /** The daemon counts a lease this much longer than the client does. */
  leaseMarginMs: number;
  /**
   * A folder that several sessions change at once may be shown as it was so long ago (its times and counters; who changes
   * its mode or owner waits for as long). 0: not at all.
   */
  sharedFolderMs: number;
  /** A mount process that died is replaced after this; doubles with each death that follows soon. */
  restartMs: number;
  /** A mount process that has served for so long did not die soon. */
  steadyMs: number;
  /** A client that has nothing to say renews this often. */
  renewMs: number;
  /** An operation that cannot be done (no daemon, no replica, no space on M nodes) fails after this. */
  ioDeadlineMs: number;
  /** Dirty data is uploaded after this at the latest. */
  dirtyMs: number;
  /** One try to reach a daemon. */
  connectMs: number;
  /** Pause between tries to reach a daemon; doubles up to the second. */
  reconnectMinMs: number;
  reconnectMaxMs: number;
  /** One try to get or put a chunk. */
  chunkMs: number;
  /** Storage daemons say how they are. */
  heartbeatMs: number;
  /** A node that was silent for this long is DOWN. */
  nodeDownMs: number;
  /** A PENDING copy that was not confirmed by then is dropped and assigned elsewhere. */
  confirmMs: number;
  /** Stores fsync what is new. */
  syncMs: number;
  /** Two-phase cleaning runs. */
  cleanMs: number;
  /** A dereferenced chunk stays this long. */
  deleteDelayMs: number;
  /** Chunks of an ended session that were never committed stay this long. */
  orphanGraceMs: number;
  /** Every chunk is read against its checksums within this. */
  scrubMs: number;
  /** A heartbeat that counts as recent when a node says "not found" on a removal. */
  recentHeartbeatMs: number;
  /** A snapshot of the metadata goes to storage nodes. */
  backupMs: number;
  /** What was committed since goes after it. */
  shipMs: number;
}

export const DEADLINES: Deadlines = {
  leaseMs: 10_000,
  leaseMarginMs: 2_000,
  sharedFolderMs: 5,
  restartMs: 100,
  steadyMs: 60_000,
  renewMs: 3_000,
  ioDeadlineMs: 60_000,
  dirtyMs: 5_000,
  connectMs: 2_000,
  reconnectMinMs: 50,
  reconnectMaxMs: 1_000,
  chunkMs: 10_000,
  heartbeatMs: 15_000,
  nodeDownMs: 30_000,
  confirmMs: 30_000,
  syncMs: 2_000,
  cleanMs: 60_000,
  deleteDelayMs: 30_000,
  orphanGraceMs: 60_000,
  scrubMs: 604_800_000,
  recentHeartbeatMs: 300_000,
  backupMs: 3_600_000,
  shipMs: 2_000,
};

/** Throws when the intervals contradict each other. */
export function checkDeadlines(d: Deadlines): void {
  if (d.renewMs * 2 > d.leaseMs) throw new RangeError("renewMs must be at most half of leaseMs");
  if (d.heartbeatMs > d.nodeDownMs) throw new RangeError("heartbeatMs must not exceed nodeDownMs");
  if (d.deleteDelayMs < 2 * d.leaseMs) throw new RangeError("deleteDelayMs must be two leases or more");
}
