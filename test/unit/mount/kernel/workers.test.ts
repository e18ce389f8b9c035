import { fileURLToPath } from "node:url";
import { test } from "tap";
import { loadAddon } from "../../../../mount/kernel/addon.js";
import { Workers } from "../../../../mount/kernel/workers.js";
import { run } from "../../../helpers/run.js";

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

test("a process that ends right after its workers does so in order", async (t) => {
  const part = (name: string) => fileURLToPath(new URL(`../../../../mount/kernel/${name}.js`, import.meta.url));
  const program = `
    import { loadAddon } from ${JSON.stringify(part("addon"))};
    import { Workers } from ${JSON.stringify(part("workers"))};
    const workers = new Workers(loadAddon());
    await workers.unmount("/nothing/is/mounted/here", "plain");
    workers.stop();`;
  for (let round = 0; round < 10; round++) {
    t.equal((await run(process.execPath, ["--input-type=module", "-e", program])).code, 0);
  }
});
