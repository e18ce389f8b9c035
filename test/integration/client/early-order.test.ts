import { test } from "tap";
import { type Client, Lab, WHO, name } from "./lab.js";

async function list({ fs }: Client, dir: number, withAttributes: boolean): Promise<Map<string, number>> {
  const names = new Map<string, number>();
  const { handle } = await fs.opendir(WHO, dir);
  for (let cookie = 0, before = -1; cookie !== before;) {
    before = cookie;
    await fs.readdir(handle, cookie, withAttributes, (entry) => {
      cookie = entry.cookie;
      names.set(entry.name, entry.ino);
      return true;
    });
  }
  await fs.releasedir(handle);
  return names;
}

test("files that take each other's names at a daemon that has to load them first keep their content", async (t) => {
  const lab = await Lab.start(t, { stores: 0 });
  const maker = await lab.client();
  const dir = (await maker.fs.mkdir(WHO, 1, name("logs"), 0o755, 0)).attr?.ino ?? 0;
  const files = ["log", "log.1", "log.2", "other"];
  for (const file of files) await maker.fs.mknod(WHO, dir, name(file), 0o644, 0, 0);
  await maker.fs.drain();
  await maker.stop();
  const { listen } = lab.meta;
  await lab.meta.stop();
  await lab.startMeta(listen);
  const client = await lab.client();
  const { fs } = client;
  await fs.getattr(WHO, 1);
  await fs.lookup(WHO, 1, name("logs"));
  await fs.mknod(WHO, 1, name("any"), 0o644, 0, 0);
  await fs.unlink(WHO, 1, name("any"));
  const before = await list(client, dir, false);
  for (const file of files.slice(0, 3)) await fs.lookup(WHO, dir, name(file));
  for (const [from, into] of [
    ["log.2", "log.3"],
    ["log.1", "log.2"],
    ["log", "log.1"],
  ] as const) {
    const at = { fromDir: dir, intoDir: dir, fromName: name(from), intoName: name(into) };
    await fs.rename(WHO, { ...at, noReplace: false, exchange: false });
  }
  await fs.drain();
  const after = await list(client, dir, true);
  t.same(
    ["log.3", "log.2", "log.1"].map((file) => after.get(file)),
    ["log.2", "log.1", "log"].map((file) => before.get(file)),
  );
});
