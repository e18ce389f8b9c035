import { availableParallelism, freemem, loadavg, totalmem } from "node:os";
import type { Load } from "../../proto/gen/bigfs/v1/node.js";

/** How busy the machine is; `disk` as the store says. */
export function loadOf(disk: number): Load {
  const [minute = 0] = loadavg();
  return { cpu: Math.min(1, minute / availableParallelism()), memory: 1 - freemem() / totalmem(), disk };
}
