import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "tap";
import { CHUNK, Lab, type Mount, WHO, flags, pattern, runs } from "./lab.js";

const SIZE = 5 * CHUNK;

const offset = fc.oneof(
  fc.nat(SIZE),
  fc.nat(5).map((n) => n * CHUNK),
  fc.nat(200),
);
const length = fc.oneof(
  fc.integer({ min: 1, max: 300 }),
  fc.integer({ min: 1, max: 9000 }),
  fc.nat(2 * CHUNK).map((n) => n + 1),
);

const command = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ do: fc.constant("write" as const), off: offset, len: length, also: fc.boolean() }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("append" as const), len: length, also: fc.boolean() }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("read" as const), off: offset, len: length }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("truncate" as const), size: offset, also: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("punch" as const), off: offset, len: length, also: fc.boolean() }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("copy" as const), off: offset, into: offset, len: length }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("fsync" as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("reopen" as const), truncate: fc.constant(false) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("reopen" as const), truncate: fc.constant(true) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("elsewhere" as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.nat(8000) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("clean" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("break" as const), node: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("seek" as const), off: offset }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("compact" as const), slot: fc.nat(5), by: fc.constantFrom("a", "b") }),
  },
);

type Command = typeof command extends fc.Arbitrary<infer T> ? T : never;

const world = fc.record({
  seed: fc.nat(),
  failures: fc.constantFrom(0, 0, 0.1, 0.3),
  dirtyBytes: fc.constantFrom(1, 4096, 3 * CHUNK, 1 << 20),
  cacheBytes: fc.constantFrom(0, CHUNK, 1 << 20),
  uncached: fc.boolean(),
});

/** A file on a mount and the bytes that it should have. */
class Twin {
  data: Buffer = Buffer.alloc(0);
  ino = 0;
  handle = 0;
  #appender = 0;
  #writes = 0;
  readonly lab: Lab;
  readonly a: Mount;
  readonly b: Mount;

  constructor(opts: { seed: number; failures: number; dirtyBytes: number; cacheBytes: number; uncached: boolean }) {
    this.lab = new Lab({ seed: opts.seed });
    this.lab.nodes.failures = opts.failures;
    this.a = this.lab.mount(opts);
    this.b = this.lab.mount();
    this.a.meta.uncached = opts.uncached;
  }

  async begin(): Promise<void> {
    const { ino, handle } = await this.lab.create(this.a, "f");
    this.ino = ino;
    this.handle = handle;
    await this.#openAppender();
    await this.lab.lookup(this.b, "f");
  }

  async run(c: Command): Promise<void> {
    const { lab, a } = this;
    const { vfs } = a;
    switch (c.do) {
      case "write": {
        const data = this.#fresh(c.len);
        return this.#change(c.also, this.#written(c.off, data), () => lab.write(a, this.handle, c.off, data));
      }
      case "append": {
        const data = this.#fresh(c.len);
        const end = this.data.length;
        // The kernel may be wrong about the end.
        return this.#change(c.also, this.#written(end, data), () => lab.write(a, this.#appender, end >> 1, data));
      }
      case "read":
        return this.#check(this.data, this.data, await this.#read(c.off, c.len), c.off, c.len);
      case "truncate":
        return this.#change(c.also, this.#resized(c.size), () => lab.end(vfs.setattr(WHO, this.ino, { size: c.size })));
      case "punch": {
        const after = Buffer.from(this.data);
        after.subarray(c.off, c.off + c.len).fill(0);
        return this.#change(c.also, after, () => lab.end(vfs.fallocate(this.handle, 3, c.off, c.len)));
      }
      case "copy":
        return this.#copy(c);
      case "fsync":
        return lab.end(vfs.fsync(this.handle));
      case "reopen": {
        await lab.close(a, this.handle);
        await lab.close(a, this.#appender);
        ({ handle: this.handle } = await lab.end(vfs.open(WHO, this.ino, flags({ truncate: c.truncate }))));
        if (c.truncate) this.data = Buffer.alloc(0);
        return this.#openAppender();
      }
      case "elsewhere":
        // Close-to-open: the other mount opens after this one has closed.
        await lab.end(vfs.flush(this.handle));
        assert.deepEqual(await lab.content(this.b, this.ino), this.data);
        return;
      case "wait":
        await lab.clock.advance(c.ms);
        return;
      case "clean":
        return lab.cluster.clean();
      case "break":
        for (const node of lab.nodes.nodes) node.broken = node.id === c.node ? "EIO" : undefined;
        return;
      case "seek":
        return this.#seek(c.off);
      case "compact":
        // It goes on while the next commands run.
        this[c.by].vfs.crowded(this.ino, c.slot);
    }
  }

  async finish(): Promise<void> {
    const { lab, a } = this;
    assert.deepEqual(await this.#read(0, SIZE * 3), this.data);
    await lab.close(a, this.handle);
    await lab.close(a, this.#appender);
    assert.deepEqual(await lab.content(this.b, this.ino), this.data);
    assert.deepEqual(await lab.content(a, this.ino), this.data);
    assert.equal(lab.cluster.inode(this.ino)?.size, this.data.length);
    const dirty = await a.registry.getSingleMetricAsString("bigfs_mount_dirty_bytes");
    assert.match(dirty, /bigfs_mount_dirty_bytes 0$/m, "all memory is given back");
  }

  async #openAppender(): Promise<void> {
    ({ handle: this.#appender } = await this.lab.end(this.a.vfs.open(WHO, this.ino, flags({ append: true }))));
  }

  /** The operation, and with `also` a read at the same time, which may see the bytes before or after it. */
  async #change(also: boolean, after: Buffer, work: () => Promise<unknown>): Promise<void> {
    const { lab, a } = this;
    const before = this.data;
    const off = lab.chance.below(before.length);
    const reading = also ? a.vfs.read(this.handle, off, 30_000) : undefined;
    const done = work();
    // Whatever is being read is waited for together with the change.
    const seen = reading === undefined ? undefined : Buffer.from(await lab.end(reading));
    await lab.end(done);
    this.data = after;
    if (seen !== undefined) this.#check(before, after, seen, off, 30_000);
    const { attr } = await lab.end(a.vfs.getattr(WHO, this.ino));
    assert.equal(attr.size, after.length, "the size is known at once");
  }

  async #copy(c: { off: number; into: number; len: number }): Promise<void> {
    const { lab, a } = this;
    const len = Math.min(c.len, Math.max(0, this.data.length - c.off));
    if (Math.abs(c.off - c.into) < c.len) return;
    const from = { handle: this.handle, off: c.off };
    const copied = await lab.end(a.vfs.copyRange(from, { handle: this.handle, off: c.into }, c.len));
    assert.ok(copied <= len);
    if (copied > 0) this.data = this.#written(c.into, Buffer.from(this.data.subarray(c.off, c.off + copied)));
  }

  async #seek(off: number): Promise<void> {
    const { lab, a } = this;
    let at = 0;
    const hole = await lab.errno(async () => {
      at = await lab.end(a.vfs.lseek(this.handle, off, 4));
    });
    assert.equal(hole, off >= this.data.length ? "ENXIO" : "");
    let data = 0;
    const none = await lab.errno(async () => {
      data = await lab.end(a.vfs.lseek(this.handle, off, 3));
    });
    // Nothing but zeros up to where data begins.
    const end = none === "ENXIO" ? this.data.length : data;
    assert.ok(this.data.subarray(off, end).every((byte) => byte === 0));
    if (hole === "") assert.ok(at >= off && at <= this.data.length);
  }

  async #read(off: number, len: number): Promise<Buffer> {
    return Buffer.from(await this.lab.end(this.a.vfs.read(this.handle, off, len)));
  }

  #check(before: Buffer, after: Buffer, seen: Buffer, off: number, len: number): void {
    const lengths = [before, after].map((bytes) => bytes.subarray(off, off + len).length);
    assert.ok(
      lengths.includes(seen.length),
      `read ${seen.length} bytes at ${off} of ${before.length} or ${after.length}`,
    );
    for (let i = 0; i < seen.length; i++) {
      const was = before[off + i];
      const is = after[off + i];
      if (seen[i] !== was && seen[i] !== is) {
        assert.fail(`byte ${off + i} is ${seen[i]}; it was ${was} and is ${is}`);
      }
    }
  }

  #fresh(len: number): Buffer {
    return pattern(len, ++this.#writes);
  }

  #written(off: number, data: Buffer): Buffer {
    const after = Buffer.alloc(Math.max(this.data.length, off + data.length));
    this.data.copy(after);
    data.copy(after, off);
    return after;
  }

  #resized(size: number): Buffer {
    const after = Buffer.alloc(size);
    this.data.copy(after);
    return after;
  }
}

void test("a file is what was written to it, whatever its nodes do and however small its memory is", async () => {
  await fc.assert(
    fc.asyncProperty(world, fc.array(command, { minLength: 1, maxLength: 25 }), async (opts, commands) => {
      const twin = new Twin(opts);
      await twin.begin();
      for (const c of commands) await twin.run(c);
      for (const node of twin.lab.nodes.nodes) node.broken = undefined;
      await twin.finish();
    }),
    runs(40),
  );
});
