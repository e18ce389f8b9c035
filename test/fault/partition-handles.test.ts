import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { Agent } from "../helpers/agent.js";
import { noHosts } from "../helpers/hosts.js";
import { IMPATIENT, Network } from "../helpers/partitions.js";

test(
  "a mount that was cut off for longer than its lease tells each handle once that something is lost",
  { skip: await noHosts() },
  async (t) => {
    const network = await Network.start(t, IMPATIENT);
    const [near, meta] = [network.host("near"), network.host("meta")];
    const program = new Agent(t);
    const does = async (line: string, value: unknown = null) => t.same(await program.ask(line), { value }, line);
    const path = JSON.stringify(join(network.mnt("near"), "held"));
    await does(`one = os.open(${path}, os.O_RDWR | os.O_CREAT)`);
    await does(`other = os.open(${path}, os.O_RDWR)`);
    await does('os.write(one, b"synced,")', 7);
    await does("os.fsync(one)");
    await near.lose(meta);
    await does('os.write(one, b"lost,")', 5);
    await network.until(({ sessions }) => !sessions.some(({ name }) => name.startsWith("near:")));
    await near.reach(meta);
    await network.whole();
    for (const handle of ["one", "other"]) {
      t.same(await program.ask(`os.fsync(${handle})`), { errno: "EIO" }, `${handle} is told`);
      await does(`os.fsync(${handle})`);
    }
    await does('os.pwrite(one, b"after", 7)', 5);
    await does("os.fsync(one)");
    t.equal(await readFile(join(network.mnt("far"), "held"), "latin1"), "synced,after");
  },
);
