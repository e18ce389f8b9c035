import type { Test } from "tap";
import { systemClock } from "../../daemon/common/clock.js";
import { TestCluster } from "./cluster.js";
import { Diligent } from "./manifest.js";

/** How long it lasts at least, and until each daemon was killed; more by hand. */
const SECONDS = Number(process.env["STORM_SECONDS"] ?? 60);
const FAST = [
  "heartbeatMs=500",
  "nodeDownMs=2000",
  "confirmMs=2000",
  "syncMs=200",
  "leaseMs=5000",
  "renewMs=1000",
].flatMap((change) => ["--deadline", change]);
export const STORES = ["store1", "store2", "store3"];

/** Kills these daemons one after the other, the next when the last is back and nothing lacks a copy. */
export async function storm(t: Test, opts: { copies: number; min: number; names: readonly string[] }): Promise<void> {
  const copies = ["--replicas", `${opts.copies}`, "--min-replicas", `${opts.min}`];
  const cluster = await TestCluster.start(t, [...FAST, ...copies]);
  const second = await cluster.mountAgain("second", ["--no-short-circuit", ...FAST]);
  const sizes = [150_000, 3_000, 1_500_000];
  const common = { sizes, keep: 40 };
  // Each reads what it has written by the other mount; one of them remembers where copies were (D28).
  const workers = [
    new Diligent(t, { ...common, write: cluster.mnt, read: second }),
    new Diligent(t, { ...common, write: second, read: cluster.mnt, sizes: [...sizes].reverse() }),
  ];
  const end = systemClock.monotonicMs() + SECONDS * 1000;
  let kills = 0;
  for (; kills < opts.names.length || systemClock.monotonicMs() < end; kills++) {
    const name = opts.names[kills % opts.names.length] ?? "";
    await cluster.kill(name);
    await cluster.up();
    await cluster.until(
      ({ nodes, underReplicated }) => nodes.every(({ state }) => state === "UP") && underReplicated === 0,
    );
  }
  for (const worker of workers) {
    const { problems, written } = await worker.stop();
    t.same(problems, []);
    t.ok(written > 0, `${written} files were written while daemons were killed ${kills} times`);
  }
}
