import { Counter, Gauge, type Registry } from "../common/metrics.js";
import type { ChunkStore, StoreStats } from "./chunk-store.js";
import type { DiskHealth } from "./disk-health.js";

/** Exports the store's figures. */
export function exportStats(
  registry: Registry,
  parts: { readonly store: ChunkStore; readonly health: DiskHealth; readonly isJoined: () => boolean },
): void {
  const { store, health, isJoined } = parts;
  const figures: readonly [string, string, keyof StoreStats][] = [
    ["chunks", "Chunks that this node holds", "chunks"],
    ["used_bytes", "Bytes that chunks take", "used"],
    ["capacity_bytes", "Bytes that chunks may take", "capacity"],
    ["unsynced_chunks", "Chunks that are not fsynced yet", "unsynced"],
    ["unverified_chunks", "Chunks to be verified after an unclean stop", "unverified"],
    ["quarantined_files", "Chunk files in quarantine", "quarantined"],
  ];
  for (const [name, help, figure] of figures) {
    gauge(registry, name, help, () => store.stats[figure]);
  }
  gauge(registry, "joined", "1 while this node is joined to the metadata daemon", () => Number(isJoined()));
  gauge(registry, "failing", "1 when the disk has failed for several files", () =>
    Number(health.failing !== undefined),
  );
  const errors = new Counter({
    name: "bigfs_store_disk_errors_total",
    help: "Errors of the disk itself, by errno",
    labelNames: ["errno"],
    registers: [registry],
  });
  health.onError((_, errno) => errors.inc({ errno }));
  const lost = new Counter({
    name: "bigfs_store_lost_chunks_total",
    help: "Copies that were found bad or missing, by errno",
    labelNames: ["errno"],
    registers: [registry],
  });
  store.onLost((_, errno) => lost.inc({ errno }));
}

function gauge(registry: Registry, name: string, help: string, value: () => number): void {
  new Gauge({
    name: `bigfs_store_${name}`,
    help,
    registers: [registry],
    collect() {
      this.set(value());
    },
  });
}
