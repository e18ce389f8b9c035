import { test } from "tap";
import type { Left } from "../../../helpers/forgetting.js";
import { must } from "../../../helpers/run.js";

const PROGRAM = new URL("../../../helpers/forgetting.js", import.meta.url).pathname;
const GROWTH_MAX = 8 << 20;
/** What a mount keeps of what the kernel has forgotten. */
const IDLE_MAX = 20_000;

test("a million inodes that were looked up and forgotten leave no memory behind, and the daemon is told", async (t) => {
  const left = JSON.parse(await must(process.execPath, [PROGRAM])) as Left;
  t.ok(left.growthBytes < GROWTH_MAX, `${left.growthBytes} bytes more after the second half`);
  t.equal(left.known, 0);
  t.ok(left.givenBack > 1_000_000 - 2 * IDLE_MAX, `${left.givenBack} were given back`);
});
