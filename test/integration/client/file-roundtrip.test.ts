import { randomBytes } from "node:crypto";
import { test } from "tap";
import { Lab, RW, WHO, name, readFile, writeFile } from "./lab.js";

test("what one client wrote and closed, another reads", async (t) => {
  const lab = await Lab.start(t);
  const [writer, reader] = [await lab.client(), await lab.client()];
  for (const size of [0, 1, 4096, 5000, 256 * 1024, 256 * 1024 + 1, 3_000_000]) {
    const data = randomBytes(size);
    await writeFile(writer, `file${size}`, data);
    t.ok((await readFile(reader, `file${size}`)).equals(data), `${size} bytes`);
    t.ok((await readFile(writer, `file${size}`)).equals(data), `${size} bytes, read by the writer`);
  }
});

test("with any one storage daemon stopped, everything still reads", async (t) => {
  const lab = await Lab.start(t);
  const writer = await lab.client();
  const data = randomBytes(2_000_000);
  await writeFile(writer, "file", data);
  for (const [index, store] of [...lab.stores].entries()) {
    const { listen } = store;
    await store.stop();
    const reader = await lab.client();
    t.ok((await readFile(reader, "file")).equals(data), `without store ${index}`);
    await reader.stop();
    lab.stores[index] = await lab.startStore(index, listen);
  }
});

test("a restart of the metadata daemon in the middle of work loses nothing", async (t) => {
  const lab = await Lab.start(t);
  const client = await lab.client();
  const { listen } = lab.meta;
  const files = new Map<string, Buffer>();
  const work = async (from: number) => {
    for (let i = from; i < from + 40; i++) {
      const data = randomBytes(1 + ((i * 7919) % 9000));
      await writeFile(client, `file${i}`, data);
      files.set(`file${i}`, data);
    }
  };
  const running = Promise.all([work(0), work(100), work(200)]);
  while (files.size < 20) await new Promise((resolve) => setImmediate(resolve));
  await lab.meta.stop();
  await lab.startMeta(listen);
  await running;
  const reader = await lab.client();
  for (const [file, data] of files) if (!(await readFile(reader, file)).equals(data)) t.fail(file);
  t.equal(files.size, 120);
});

test("fsync and a rename over a file show the new bytes to others", async (t) => {
  const lab = await Lab.start(t);
  const [writer, reader] = [await lab.client(), await lab.client()];
  const [old, fresh] = [randomBytes(300_000), randomBytes(700_000)];
  await writeFile(writer, "file", old);
  t.ok((await readFile(reader, "file")).equals(old));
  const { fs } = writer;
  const made = await fs.create(WHO, fs.root, name("temp"), 0o644, 0, { ...RW, exclusive: true });
  await fs.write(made.handle, 0, fresh);
  await fs.fsync(made.handle);
  await fs.release(made.handle);
  const flags = { noReplace: false, exchange: false };
  await fs.rename(WHO, {
    fromDir: fs.root,
    fromName: name("temp"),
    intoDir: fs.root,
    intoName: name("file"),
    ...flags,
  });
  t.ok((await readFile(reader, "file")).equals(fresh));
});
