import fc from "fast-check";
import { test } from "tap";
import { settle } from "../../../helpers/fake-clock.js";
import { CHUNK, Lab, type Mount, WHO, flags, isWaiting, pattern, runs } from "./lab.js";

/** Opens for reading, as of now. */
async function openRead(lab: Lab, mount: Mount, ino: number): Promise<number> {
  return (await lab.end(mount.vfs.open(WHO, ino, flags({ write: false })))).handle;
}

async function readAll(lab: Lab, mount: Mount, handle: number): Promise<string> {
  return Buffer.from(await lab.end(mount.vfs.read(handle, 0, 10_000))).toString();
}

function commits({ meta }: Mount): number {
  return meta.calls.get("commit") ?? 0;
}

test("what one mount has written, but not closed, another that opens the file sees, and all that is written then", async (t) => {
  const lab = new Lab();
  const [a, b] = [lab.mount(), lab.mount()];
  const { ino, handle: writer } = await lab.create(a, "f");
  await lab.lookup(b, "f");
  await lab.write(a, writer, 0, Buffer.from("one "));
  t.equal(commits(a), 0, "it is alone: nothing is sent");
  const reader = await openRead(lab, b, ino);
  t.equal(await readAll(lab, b, reader), "one ");
  await lab.write(a, writer, 4, Buffer.from("two "));
  t.equal(await readAll(lab, b, reader), "one two ");
  t.equal(await lab.errno(() => a.vfs.setattr(WHO, ino, { size: 6 })), "");
  await lab.write(a, writer, 6, Buffer.from("es"));
  t.equal(await readAll(lab, b, reader), "one twes");
});

test("a mount that is alone with a file again keeps what it writes; with another that only reads it was not asked", async (t) => {
  const lab = new Lab();
  const [a, b] = [lab.mount(), lab.mount()];
  const { ino, handle } = await lab.create(a, "f");
  await lab.lookup(b, "f");
  const reader = await openRead(lab, b, ino);
  await lab.write(a, handle, 0, Buffer.from("x"));
  t.equal(commits(a), 1);
  await lab.close(b, reader);
  await lab.write(a, handle, 1, Buffer.from("y"));
  t.equal(commits(a), 1);
  await lab.close(a, handle);
  const [ra, rb] = [await openRead(lab, a, ino), await openRead(lab, b, ino)];
  t.equal(await readAll(lab, b, rb), "xy");
  const write = await lab.end(b.vfs.open(WHO, ino, flags()));
  t.equal(write.direct, true, "the kernel keeps no pages of what others change");
  await lab.write(b, write.handle, 2, Buffer.from("z"));
  t.equal(await readAll(lab, a, ra), "xyz");
  await lab.close(b, write.handle);
  t.equal((await lab.end(b.vfs.open(WHO, ino, flags({ write: false })))).direct, false);
});

test("who opens waits for what is being stored; storage that does not answer is not waited for beyond the lease", async (t) => {
  const lab = new Lab();
  const [a, b] = [lab.mount(), lab.mount()];
  const { ino, handle } = await lab.create(a, "f");
  await lab.lookup(b, "f");
  await lab.write(a, handle, 0, pattern(CHUNK / 4, 1));
  a.meta.before = (op) => (op === "commit" ? new Promise(() => {}) : undefined);
  const before = lab.clock.monotonicMs();
  const open = openRead(lab, b, ino);
  t.ok(await isWaiting(open));
  const reader = await open;
  const waited = lab.clock.monotonicMs() - before;
  t.ok(waited > 1000 && waited < 10_000, `${waited} ms`);
  t.equal(await readAll(lab, b, reader), "", "it is not there, and nothing half of it is");
});

test("who opens waits for what was appended there, however long that takes to store", async (t) => {
  const lab = new Lab();
  const [a, b] = [lab.mount(), lab.mount()];
  const { ino, handle } = await lab.create(a, "f");
  await lab.lookup(b, "f");
  await lab.end(a.vfs.write(handle, 0, Buffer.from("first "), { append: true, sync: false }));
  let answer = (): void => {};
  const slow = new Promise<void>((resolve) => (answer = resolve));
  a.meta.before = (op) => (op === "commit" ? slow : undefined);
  // Where it ends is not known any more: the next one is placed by its commit, behind this one.
  a.meta.leaseMs = 0;
  const next = lab.end(a.vfs.write(handle, 0, Buffer.from("next "), { append: true, sync: false }));
  await lab.clock.advance(1_000);
  const opened = b.vfs.open(WHO, ino, flags({ append: true }));
  await lab.clock.advance(9_000);
  t.ok(await isWaiting(Promise.resolve(opened)), "its place is not known yet");
  answer();
  const other = await lab.end(opened);
  await next;
  await lab.write(b, other.handle, 0, Buffer.from("second"));
  t.equal(await readAll(lab, a, handle), "first next second");
});

test("what many small appends have left in the metadata is on disk before it is moved to a chunk", async (t) => {
  const lab = new Lab({ chunkSize: 4 * CHUNK });
  const [a, b] = [lab.mount(), lab.mount()];
  const { ino } = await lab.create(a, "f");
  await lab.lookup(b, "f");
  const open = await lab.end(b.vfs.open(WHO, ino, flags({ append: true })));
  const syncs: boolean[] = [];
  const put = b.chunks.put.bind(b.chunks);
  b.chunks.put = (chunk) => {
    syncs.push(chunk.sync);
    return put(chunk);
  };
  for (let i = 0; syncs.length === 0 && i < 40; i++) await lab.write(b, open.handle, 0, pattern(4000, i));
  t.same(syncs, [true]);
});

test("two mounts that truncate a file by opening it do not wait for each other in a circle", async (t) => {
  const lab = new Lab({ seed: 3 });
  const [a, b] = [lab.mount(), lab.mount()];
  const { ino, handle: ha } = await lab.create(a, "f");
  await lab.lookup(b, "f");
  const { handle: hb } = await lab.end(b.vfs.open(WHO, ino, flags({ write: false })));
  await lab.close(b, hb);
  await lab.write(a, ha, 0, pattern(100, 1));
  const before = lab.clock.monotonicMs();
  const truncating = flags({ truncate: true });
  await lab.end(Promise.all([a.vfs.open(WHO, ino, truncating), b.vfs.open(WHO, ino, truncating)]).then(() => {}));
  t.ok(lab.clock.monotonicMs() - before < 1000);
  t.equal((await lab.content(a, ino)).length, 0);
});

test("a mount that was given up is told anew what is shared", async (t) => {
  const lab = new Lab();
  const [a, b] = [lab.mount(), lab.mount()];
  const { ino, handle } = await lab.create(a, "f");
  await lab.lookup(b, "f");
  const reader = await openRead(lab, b, ino);
  a.vfs.fenced(false);
  await settle(10);
  await lab.write(a, handle, 0, Buffer.from("kept"));
  t.equal(commits(a), 0);
  await lab.end(a.vfs.recall({ number: 1, inodes: [{ ino, data: false, shared: true }], entries: [] }));
  t.equal(await readAll(lab, b, reader), "kept");
  await lab.write(a, handle, 4, Buffer.from(" too"));
  t.equal(await readAll(lab, b, reader), "kept too");
});

/** A record that tells where it ends and what is in it. */
function record(id: number, length: number): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(id, 0);
  head.writeUInt32BE(length, 4);
  return Buffer.concat([head, pattern(length, id)]);
}

/** Ids of the records in it, in order; NaN where bytes are not those of a record. */
function recordsIn(data: Buffer): number[] {
  const ids: number[] = [];
  for (let at = 0; at < data.length;) {
    if (data.length - at < 8 || data.readUInt32BE(at + 4) > data.length) return [...ids, NaN];
    const id = data.readUInt32BE(at);
    const whole = record(id, data.readUInt32BE(at + 4));
    if (!data.subarray(at, at + whole.length).equals(whole)) return [...ids, NaN];
    ids.push(id);
    at += whole.length;
  }
  return ids;
}

type Step = { mount: number; length: number } | { mount: number; reopen: boolean } | { pause: number };

/** While a mount that is alone asks where the file ends, another one opens it, appends and closes it. */
const OVERTAKEN: Step[] = [
  { mount: 1, reopen: true },
  { mount: 1, length: 1 },
  { mount: 1, reopen: true },
  { mount: 0, length: 65536 },
  { mount: 1, length: 1 },
  { mount: 1, length: 4096 },
  { mount: 2, length: 65536 },
  { mount: 0, length: 1671 },
  { mount: 2, length: 1 },
  { mount: 0, length: 65537 },
  { mount: 0, length: 2384 },
  { mount: 1, length: 1 },
  { mount: 0, length: 65537 },
  { pause: 151 },
  { mount: 1, length: 65536 },
  { mount: 0, reopen: true },
  { mount: 0, length: 1 },
  { mount: 1, reopen: true },
  { mount: 2, length: 1 },
  { mount: 1, length: 1 },
  { mount: 0, length: 1 },
];

test("records that several mounts append are all there, whole and in the order of each mount", async (t) => {
  const LENGTHS = [1, 50, 4000, 4096, 4097, 30_000, CHUNK, CHUNK + 1, 2 * CHUNK + 100];
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 8, arbitrary: fc.record({ mount: fc.nat(2), length: fc.constantFrom(...LENGTHS) }) },
    { weight: 4, arbitrary: fc.record({ mount: fc.nat(2), length: fc.integer({ min: 1, max: 3000 }) }) },
    { weight: 1, arbitrary: fc.record({ mount: fc.nat(2), reopen: fc.constant(true) }) },
    { weight: 1, arbitrary: fc.record({ pause: fc.nat(6000) }) },
  );
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.array(step, { maxLength: 60, size: "max" }), async (seed, steps) => {
      const lab = new Lab({ seed });
      const mounts = [lab.mount(), lab.mount(), lab.mount()];
      const first = mounts[0];
      if (first === undefined) throw new Error("no mount");
      const { ino, handle } = await lab.create(first, "f", { append: true });
      await lab.close(first, handle);
      for (const mount of mounts) await lab.lookup(mount, "f");
      const appending = flags({ append: true });
      let made = 0;
      // Each mount does one thing after the other, as its kernel makes it; all at the same time.
      const scripts = mounts.map((_, at) => steps.filter((one) => "pause" in one || one.mount === at));
      const expected = scripts.map(() => [] as number[]);
      const work = mounts.map(async (mount, at) => {
        let open: number | undefined;
        for (const one of scripts[at] ?? []) {
          open ??= (await mount.vfs.open(WHO, ino, appending)).handle;
          if ("pause" in one) await new Promise<void>((resolve) => lab.clock.after(one.pause, resolve));
          else if ("reopen" in one) {
            await mount.vfs.flush(open);
            await mount.vfs.release(open);
            open = undefined;
          } else {
            const id = ++made;
            expected[at]?.push(id);
            await mount.vfs.write(open, 0, record(id, one.length));
          }
        }
        if (open === undefined) return;
        await mount.vfs.flush(open);
        await mount.vfs.release(open);
      });
      await lab.end(Promise.all(work).then(() => {}));
      const found = recordsIn(await lab.content(first, ino));
      if (found.length !== made) throw new Error(`${made} records, ${found.length} found`);
      for (const ids of expected) {
        const own = found.filter((id) => ids.includes(id));
        if (own.join() !== ids.join()) throw new Error(`wrote ${ids.join()}, found ${own.join()}`);
      }
    }),
    { ...runs(40), examples: [[1912031640, OVERTAKEN]] },
  );
  t.pass("held");
});

test("the kernel's page at the end of a shared file goes when it was filled, not when the file's new size is told", async (t) => {
  const lab = new Lab();
  const [a, b] = [lab.mount(), lab.mount()];
  const { ino, handle } = await lab.create(a, "f");
  await lab.write(a, handle, 0, Buffer.from("short"));
  await lab.close(a, handle);
  await lab.lookup(b, "f");
  const { handle: reading } = await lab.end(b.vfs.open(WHO, ino, flags({ write: false })));
  const { handle: writing } = await lab.end(a.vfs.open(WHO, ino, flags()));
  b.meta.uncached = true;
  b.kernel.told.length = 0;
  t.equal((await lab.end(b.vfs.read(reading, 0, 4096))).toString(), "short");
  t.same(b.kernel.told, [`data ${ino}`]);
  await lab.write(a, writing, 5, Buffer.from(" and longer"));
  b.kernel.told.length = 0;
  t.equal((await lab.end(b.vfs.getattr(WHO, ino))).attr.size, 16);
  t.same(b.kernel.told, [], "or the kernel would not keep the size that it hears");
});
