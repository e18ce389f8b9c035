import { Gauge, type Registry } from "../common/metrics.js";

/** Figures that are looked up when they are asked for. */
export interface MetaFigures {
  readonly sessions: () => number;
  readonly leases: () => number;
  readonly recalls: () => number;
  readonly requestsWaiting: () => number;
  readonly orphans: () => number;
  readonly crowded: () => number;
  readonly compacted: () => number;
  readonly rowsCached: () => number;
  readonly rowsDirty: () => number;
  /** Since when changes wait that are not on disk. */
  readonly durableLagSec: () => number;
}

const GAUGES: readonly (readonly [keyof MetaFigures, string, string])[] = [
  ["sessions", "bigfs_meta_sessions_count", "Sessions that have not ended"],
  ["leases", "bigfs_meta_leases_count", "Names and inodes that sessions may cache"],
  ["recalls", "bigfs_meta_recalls_count", "Recalls sent since the daemon started"],
  ["requestsWaiting", "bigfs_meta_requests_waiting_count", "Requests that wait until operations are served"],
  ["orphans", "bigfs_meta_orphans_count", "Files without a name that are open"],
  ["crowded", "bigfs_meta_crowded_slots_count", "Slots in many pieces that wait for compaction"],
  ["compacted", "bigfs_meta_compacted_slots_count", "Slots compacted since the daemon started"],
  ["rowsCached", "bigfs_meta_rows_cached_count", "Rows in memory"],
  ["rowsDirty", "bigfs_meta_rows_dirty_count", "Rows with changes that are not on disk"],
  ["durableLagSec", "bigfs_meta_durable_lag_seconds", "Age of the oldest change that is not on disk"],
];

export function showMetaFigures(registry: Registry, figures: MetaFigures): void {
  for (const [figure, name, help] of GAUGES) {
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(figures[figure]());
      },
    });
  }
}
