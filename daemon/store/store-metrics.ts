import { Counter, Gauge, type Registry } from "../common/metrics.js";
import type { StoreStats } from "./chunk-store.js";
import type { StoreNode } from "./node.js";

/** Exports the figures of a daemon's nodes; of several each by its folder. */
export function exportStats(registry: Registry, nodes: readonly StoreNode[]): void {
  const labelsOf = ({ data }: StoreNode): { folder?: string } => (nodes.length > 1 ? { folder: data } : {});
  const gauge = (name: string, help: string, value: (node: StoreNode) => number): void => {
    new Gauge({
      name: `bigfs_store_${name}`,
      help,
      labelNames: ["folder"],
      registers: [registry],
      collect() {
        for (const node of nodes) this.set(labelsOf(node), value(node));
      },
    });
  };
  const figures: readonly [string, string, keyof StoreStats][] = [
    ["chunks", "Chunks that this node holds", "chunks"],
    ["used_bytes", "Bytes that chunks take", "used"],
    ["capacity_bytes", "Bytes that chunks may take", "capacity"],
    ["unsynced_chunks", "Chunks that are not fsynced yet", "unsynced"],
    ["unverified_chunks", "Chunks to be verified after an unclean stop", "unverified"],
    ["quarantined_files", "Chunk files in quarantine", "quarantined"],
  ];
  for (const [name, help, figure] of figures) gauge(name, help, ({ store }) => store.stats[figure]);
  gauge("joined", "1 while this node is joined to the metadata daemon", (node) => Number(node.isJoined));
  gauge("failing", "1 when the disk has failed for several files", ({ health }) =>
    Number(health.failing !== undefined),
  );
  const unscrubbed = "Seconds since the chunk that was not read for the longest time was read in full, at most";
  gauge("unscrubbed_seconds", unscrubbed, ({ scrub }) => scrub.oldestSec);
  const counter = (name: string, help: string, ...labels: string[]): Counter =>
    new Counter({ name: `bigfs_store_${name}`, help, labelNames: ["folder", ...labels], registers: [registry] });
  const scrubbed = counter("scrubbed_bytes_total", "Bytes of chunks that were read again to see whether they are good");
  const errors = counter("disk_errors_total", "Errors of the disk itself, by errno", "errno");
  const lost = counter("lost_chunks_total", "Copies that were found bad or missing, by errno", "errno");
  for (const node of nodes) {
    const labels = labelsOf(node);
    node.scrub.onRead((bytes) => scrubbed.inc(labels, bytes));
    node.health.onError((_, errno) => errors.inc({ ...labels, errno }));
    node.store.onLost((_, errno) => lost.inc({ ...labels, errno }));
  }
}
