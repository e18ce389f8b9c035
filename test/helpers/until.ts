import { setTimeout as pause } from "node:timers/promises";

/** Between two looks: whoever looks without a pause takes the processor from what is waited for. */
const LOOK_MS = 10;

/** Waits until that is so. */
export async function until(met: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await met())) await pause(LOOK_MS);
}
