import { test } from "tap";
import type { ChunkHeader } from "../../../../daemon/common/chunks/chunk-format.js";
import { OpenChunks, type OpenChunk } from "../../../../daemon/common/chunks/open-chunks.js";

/** Files by name of the chunk; what was opened and closed, in order. */
class Files {
  readonly log: string[] = [];

  readonly opener = (id: number) => (): Promise<OpenChunk> => {
    this.log.push(`open ${id}`);
    const header: ChunkHeader = { id, len: 1, crc: 0, blocks: [0] };
    const file = { read: () => Promise.resolve(Buffer.of(id)), close: () => this.log.push(`close ${id}`) };
    return Promise.resolve({ file, header: Promise.resolve(header) });
  };
}

const first = ({ file }: OpenChunk): Promise<Buffer> => file.read({ off: 0, len: 1 });

test("a file stays open between reads, until others need its place", async (t) => {
  const files = new Files();
  const chunks = new OpenChunks(2);
  for (const id of [1, 1, 2, 1, 3]) t.same(await chunks.use(id, files.opener(id), first), Buffer.of(id));
  t.same(files.log, ["open 1", "open 2", "open 3", "close 2"]);
  chunks.close();
  t.same(files.log.slice(4).sort(), ["close 1", "close 3"]);
});

test("the file of a chunk that is gone is closed, after who reads it", async (t) => {
  const files = new Files();
  const chunks = new OpenChunks(2);
  let finish = (): void => {};
  const reading = chunks.use(1, files.opener(1), () => new Promise<void>((resolve) => (finish = resolve)));
  while (files.log.length === 0) await Promise.resolve();
  await Promise.resolve();
  chunks.forget(1);
  t.same(files.log, ["open 1"]);
  finish();
  await reading;
  t.same(files.log, ["open 1", "close 1"]);
});

test("a file that was being opened when all were closed is closed after its reader", async (t) => {
  const files = new Files();
  const chunks = new OpenChunks(2);
  const reading = chunks.use(1, files.opener(1), first);
  chunks.close();
  t.same(await reading, Buffer.of(1));
  t.same(files.log, ["open 1", "close 1"]);
});

test("after an error the file is opened anew", async (t) => {
  const files = new Files();
  const chunks = new OpenChunks(2);
  await t.rejects(chunks.use(1, files.opener(1), () => Promise.reject(new Error("bad sector"))));
  await chunks.use(1, files.opener(1), first);
  t.same(files.log, ["open 1", "close 1", "open 1"]);
});

test("a sweep closes what nobody has used since the last one", async (t) => {
  const files = new Files();
  const chunks = new OpenChunks(9);
  for (const id of [1, 2]) await chunks.use(id, files.opener(id), first);
  t.equal(chunks.sweep(), true);
  await chunks.use(2, files.opener(2), first);
  t.equal(chunks.sweep(), true);
  t.same(files.log, ["open 1", "open 2", "close 1"]);
  t.equal(chunks.sweep(), false);
  t.same(files.log.slice(3), ["close 2"]);
});
