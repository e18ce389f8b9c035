import { test } from "tap";
import { loadAddon } from "../../../../mount/kernel/addon.js";
import { Workers } from "../../../../mount/kernel/workers.js";

test("what waits in the kernel does not hold up what came right behind it", async (t) => {
  const addon = loadAddon();
  const pair = () => {
    const ends = addon.socketPair();
    if (typeof ends === "number") throw new Error(`no socket (errno ${-ends})`);
    t.teardown(() => ends.forEach((fd) => addon.close(fd)));
    return ends;
  };
  const workers = new Workers(addon);
  t.teardown(() => workers.stop());
  const [free] = pair();
  const small = Buffer.from("x");
  for (let round = 0; round < 8; round++) {
    const [full] = pair();
    await workers.write("blocking", free, small);
    void workers.write("blocking", full, Buffer.alloc(8 << 20));
    t.equal(await workers.write("blocking", free, small), 0, "otherwise this would never end");
  }
});
