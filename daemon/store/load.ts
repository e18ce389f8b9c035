import { availableParallelism, freemem, loadavg, totalmem } from "node:os";
import type { Load } from "../../proto/gen/bigfs/v1/node.js";

/** How busy the machine is; `disk` and the rates as the store says. */
export function loadOf(store: Pick<Load, "disk" | "writtenPerSecond" | "readPerSecond">): Load {
  const [minute = 0] = loadavg();
  return { ...store, cpu: Math.min(1, minute / availableParallelism()), memory: 1 - freemem() / totalmem() };
}
