import { Counter, Gauge, type Registry } from "prom-client";

/** What an operator sees of a mount's memory. Each is read when the metrics are asked for. */
export interface VfsGauges {
  readonly inodes: () => number;
  readonly openHandles: () => number;
  readonly dirtyBytes: () => number;
  readonly cacheBytes: () => number;
}

export interface VfsMetrics {
  /** Files whose written data had to be given up. */
  readonly lostWrites: Counter;
}

export function vfsMetrics(registry: Registry, gauges: VfsGauges): VfsMetrics {
  const registers = [registry];
  const gauge = (name: string, help: string, read: () => number): void => {
    new Gauge({ name, help, registers, collect() { this.set(read()); } }); // prettier-ignore
  };
  gauge("bigfs_mount_inodes", "Inodes that the kernel or an open file refers to.", gauges.inodes);
  gauge("bigfs_mount_open_handles", "Open file handles.", gauges.openHandles);
  gauge("bigfs_mount_dirty_bytes", "Memory of written data that is not committed.", gauges.dirtyBytes);
  gauge("bigfs_mount_cache_bytes", "Memory of chunk data kept for reading.", gauges.cacheBytes);
  const help = "Times that written data of a file could not be stored and was given up.";
  return { lostWrites: new Counter({ name: "bigfs_mount_lost_writes_total", help, registers }) };
}
