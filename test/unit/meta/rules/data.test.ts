import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "tap";
import { idIn, key } from "../../../../daemon/meta/keys.js";
import { beginDelete, removedChunk, syncedChunk } from "../../../../daemon/meta/rules/chunks.js";
import { checkData } from "./data-invariants.js";
import { World } from "./world.js";

/** What a file should be: its bytes, and every cut that a late commit must respect. */
interface Twin {
  ino: number;
  data: Buffer;
  cuts: { seq: number; from: number; to: number }[];
  seq: number;
}

const SIZE = 3000;
const NAMES = ["a", "b"];

const offset = fc.oneof(fc.nat(120), fc.nat(SIZE));
const length = fc.oneof(
  fc.integer({ min: 1, max: 40 }),
  fc.integer({ min: 1, max: 200 }),
  fc.integer({ min: 1, max: 2500 }),
);
const file = fc.nat(1);

const command = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant("fill" as const), file }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("write" as const),
      file,
      off: offset,
      len: length,
      lag: fc.nat(3),
      inline: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("patch" as const),
      file,
      off: offset,
      len: fc.nat(60),
      step: fc.integer({ min: 1, max: 9 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("append" as const),
      file,
      len: fc.integer({ min: 1, max: 50 }),
      inline: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("truncate" as const), file, size: offset }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("fallocate" as const),
      file,
      off: offset,
      len: length,
      mode: fc.constantFrom(0, 1, 3, 16, 17),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("copy" as const), file, into: file, off: offset, to: offset, len: length }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("remove" as const), file }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("sweep" as const), file }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("sync" as const), file }) },
);
type Command = typeof command extends fc.Arbitrary<infer T> ? T : never;

class Run {
  readonly world: World;
  readonly twins: Twin[];
  readonly removed: number[] = [];
  #fill = 0;

  constructor(cold: boolean) {
    this.world = new World({ cold });
    this.twins = NAMES.map((name) => this.#fresh(name));
  }

  #fresh(name: string): Twin {
    return { ino: this.world.make(name), data: Buffer.alloc(0), cuts: [], seq: 0 };
  }

  bytes(len: number): Buffer {
    return Buffer.from(Array.from({ length: len }, () => 1 + (this.#fill++ % 255)));
  }

  step(c: Command): void {
    const twin = this.twins[c.file] as Twin;
    switch (c.do) {
      case "write":
        return this.#write(twin, c);
      case "fill":
        return this.#write(twin, { off: 0, len: SIZE, lag: 0, inline: false });
      case "patch":
        return this.#patch(twin, c);
      case "append":
        return this.#append(twin, c);
      case "truncate":
        this.world.truncate(twin.ino, c.size);
        return cut(twin, c.size, Infinity, c.size);
      case "fallocate":
        return this.#fallocate(twin, c);
      case "copy":
        return this.#copy(twin, this.twins[c.into] as Twin, c);
      case "remove":
        this.world.op("unlink", { dir: 1, name: Buffer.from(NAMES[c.file] ?? "") });
        this.removed.push(twin.ino);
        this.twins[c.file] = this.#fresh(NAMES[c.file] ?? "");
        return;
      case "sweep":
        for (const ino of [twin.ino, ...this.removed]) this.world.sweep(ino);
        return;
      case "sync":
        for (const [, chunk] of this.world.rows.of("K").slice(0, 5)) {
          for (const node of [1, 2]) this.world.rows.run((tx) => syncedChunk(tx, node, chunk.id));
        }
    }
  }

  #write(twin: Twin, c: { off: number; len: number; lag: number; inline: boolean }): void {
    const data = this.bytes(Math.min(c.len, SIZE - c.off + 1));
    const truncSeq = Math.max(0, twin.seq - c.lag);
    this.world.write(twin.ino, c.off, data, { truncSeq, inline: c.inline });
    const late = twin.cuts.filter(({ seq }) => seq > truncSeq);
    const end = Math.min(c.off + data.length, ...late.filter(({ to }) => to === Infinity).map(({ from }) => from));
    grow(twin, end);
    data.forEach((byte, i) => {
      const at = c.off + i;
      if (!late.some(({ from, to }) => at >= from && at < to)) {
        grow(twin, at + 1);
        twin.data[at] = byte;
      }
    });
  }

  /** Every n-th byte, from anywhere in one chunk, with zeros written in between. */
  #patch(twin: Twin, c: { off: number; len: number; step: number }): void {
    const data = this.bytes(c.len + 1);
    const chunk = this.world.store(data);
    const slices = Array.from(data, (_, i) => {
      const at = c.off + i * c.step;
      const place = { slot: Math.floor(at / 16), pos: at % 16 };
      const from = (i * 7) % data.length;
      const body = i % 3 === 2 ? { chunk: 0, off: 0 } : { chunk, off: from };
      const slice = { pos: place.pos, len: 1, ...body, inline: Buffer.alloc(0) };
      grow(twin, at + 1);
      twin.data[at] = body.chunk === 0 ? 0 : (data[from] ?? 0);
      return { slot: place.slot, slice };
    });
    this.world.commit(twin.ino, { slices });
  }

  #append(twin: Twin, c: { len: number; inline: boolean }): void {
    const data = this.bytes(c.len);
    const slices = c.inline ? this.world.inlineAt(0, data) : this.world.chunkAt(0, data);
    this.world.commit(twin.ino, { slices, append: true, truncSeq: 0 });
    twin.data = Buffer.concat([twin.data, data]);
  }

  #fallocate(twin: Twin, c: { off: number; len: number; mode: number }): void {
    this.world.op("fallocate", { ino: twin.ino, ...c });
    const end = c.off + c.len;
    if ((c.mode & 18) !== 0) cut(twin, c.off, end, twin.data.length);
    if ((c.mode & 1) === 0) grow(twin, end);
  }

  #copy(from: Twin, into: Twin, c: { off: number; to: number; len: number }): void {
    const args = { fromIno: from.ino, fromOff: c.off, intoIno: into.ino, intoOff: c.to, len: c.len };
    if (from === into && Math.abs(c.off - c.to) < c.len) {
      assert.equal(
        this.world.errno(() => this.world.op("copyrange", args)),
        "EINVAL",
      );
      return;
    }
    const { copied } = this.world.op("copyrange", args);
    const want = Math.max(0, Math.min(c.len, from.data.length - c.off));
    assert.ok(copied <= want && (copied > 0 || want === 0), `copied ${copied} of ${want}`);
    if (copied === 0) return;
    const data = Buffer.from(from.data.subarray(c.off, c.off + copied));
    grow(into, c.to + copied);
    data.copy(into.data, c.to);
  }

  check(): void {
    checkData(this.world);
    for (const twin of this.twins) {
      const data = this.world.read(twin.ino);
      assert.equal(data.length, twin.data.length, "size");
      const differs = data.findIndex((byte, i) => byte !== twin.data[i]);
      assert.equal(differs, -1, `byte ${differs} is ${data[differs]}, should be ${twin.data[differs]}`);
      assert.equal(this.world.inode(twin.ino).truncSeq, twin.seq);
    }
  }

  /** Removes everything and cleans up: no row of any file or chunk is left. */
  end(): void {
    const { world } = this;
    for (const name of NAMES) world.op("unlink", { dir: 1, name: Buffer.from(name) });
    for (const ino of [...this.removed, ...this.twins.map((twin) => twin.ino)]) while (world.sweep(ino));
    checkData(world);
    for (const kind of ["S", "U", "W", "O", "X"] as const) assert.deepEqual(world.rows.of(kind), []);
    for (const [at] of world.rows.of("K")) {
      const nodes = world.rows.run((tx) => beginDelete(tx, idIn(at), Infinity));
      checkData(world);
      for (const node of [...(nodes ?? [])]) world.rows.run((tx) => removedChunk(tx, node, idIn(at)));
    }
    assert.deepEqual(world.rows.of("K"), []);
    assert.deepEqual(world.rows.of("G"), []);
    assert.equal(world.rows.get(key.usage)?.bytes, 0);
  }
}

function grow(twin: Twin, size: number): void {
  if (size > twin.data.length) twin.data = Buffer.concat([twin.data, Buffer.alloc(size - twin.data.length)]);
}

function cut(twin: Twin, from: number, to: number, size: number): void {
  twin.seq += 1;
  twin.cuts.push({ seq: twin.seq, from, to });
  if (to === Infinity) {
    twin.data = Buffer.from(twin.data.subarray(0, size));
    grow(twin, size);
  } else twin.data.fill(0, Math.min(from, twin.data.length), Math.min(to, twin.data.length));
}

for (const cold of [false, true]) {
  const rows = cold ? "on rows that are loaded as it goes" : "on rows in memory";
  test(`files hold what a byte array would, whatever is done to them, ${rows}`, (t) => {
    let steps = 0;
    fc.assert(
      fc.property(fc.array(command, { minLength: 1, maxLength: 25, size: "max" }), (commands) => {
        const run = new Run(cold);
        for (const c of commands) {
          run.step(c);
          steps += 1;
          run.check();
        }
        run.end();
      }),
      { numRuns: cold ? 30 : 200 },
    );
    t.ok(steps > 0);
    t.end();
  });
}
