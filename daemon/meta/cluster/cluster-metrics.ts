import { Counter, Gauge, type Registry } from "prom-client";

/** What the gauges show, asked when they are read. */
export interface ClusterView {
  readonly nodesByState: () => ReadonlyMap<string, number>;
  readonly chunks: () => number;
  readonly pending: () => number;
  readonly oldestPendingSec: () => number;
  readonly confirmedPercent: () => number;
  readonly underReplicated: () => number;
  readonly garbage: () => number;
}

const NODE_STATES = ["JOINING", "UP", "SUSPECT", "DOWN", "DRAINING", "RETIRED"];

/** The metrics of the storage side: first what an operator needs. */
export class ClusterMetrics {
  readonly lost: Counter;
  readonly quarantined: Counter;
  readonly removed: Counter;
  readonly repaired: Counter;
  readonly surplus: Counter;
  readonly moved: Counter;
  readonly #registry: Registry;

  constructor(registry: Registry) {
    this.#registry = registry;
    this.lost = this.#counter("lost_copies_total", "Copies that nodes reported lost or bad.");
    this.quarantined = this.#counter("quarantined_chunks_total", "Copies that nobody could explain.");
    this.removed = this.#counter(
      "removed_copies_total",
      "Copies that nodes removed because their deletion is recorded.",
    );
    this.surplus = this.#counter("surplus_copies_total", "Copies that were too many, and are removed.");
    this.moved = this.#counter("moved_copies_total", "Copies that were begun to be moved to balance nodes.");
    this.repaired = this.#counter("repair_copies_total", "Copies that repair assigned to nodes.");
  }

  show(view: ClusterView): void {
    this.#gauge("chunks", "Chunks that nodes have registered.", view.chunks);
    this.#gauge("pending_copies", "Copies that were assigned and not confirmed.", view.pending);
    this.#gauge("oldest_pending_seconds", "Age of the oldest copy that is not confirmed.", view.oldestPendingSec);
    this.#gauge("confirmed_percent", "Share of the assigned copies that are confirmed.", view.confirmedPercent);
    this.#gauge("under_replicated_chunks", "Chunks with fewer live copies than wanted.", view.underReplicated);
    this.#gauge("garbage_chunks", "Chunks on their way out.", view.garbage);
    new Gauge({
      name: "bigfs_cluster_nodes",
      help: "Storage nodes by state.",
      labelNames: ["state"],
      registers: [this.#registry],
      collect() {
        const counts = view.nodesByState();
        for (const state of NODE_STATES) this.set({ state }, counts.get(state) ?? 0);
      },
    });
  }

  #counter(name: string, help: string): Counter {
    return new Counter({ name: `bigfs_cluster_${name}`, help, registers: [this.#registry] });
  }

  #gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name: `bigfs_cluster_${name}`,
      help,
      registers: [this.#registry],
      collect() {
        this.set(read());
      },
    });
  }
}
