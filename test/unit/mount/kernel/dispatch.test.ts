import fc from "fast-check";
import { test } from "tap";
import { OPCODE } from "../../../../mount/kernel/codec/opcodes.js";
import type { FileSystem } from "../../../../mount/vfs/filesystem.js";
import { fail } from "../../../../proto/errno.js";
import { KernelBench, NO_ANSWER } from "../../../helpers/kernel-bench.js";
import { MemoryFileSystem } from "../../../helpers/memory-filesystem.js";

const u64 = fc.oneof(
  fc.bigInt({ min: 0n, max: 8n }),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  fc.constantFrom(2n ** 52n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n),
);
const words = fc.array(u64, { maxLength: 12 }).map((values) => {
  const bytes = Buffer.alloc(values.length * 8);
  values.forEach((value, i) => bytes.writeBigUInt64LE(value, i * 8));
  return bytes;
});
const body = fc
  .tuple(words, fc.constantFrom("", "a\0", "a\0b\0", "\0", "..\0", "x/y\0", "no end"), fc.uint8Array({ maxLength: 40 }))
  .map(([numbers, text, bytes]) => Buffer.concat([numbers, Buffer.from(text), bytes]));
const opcode = fc.oneof(fc.constantFrom(...Object.values(OPCODE)), fc.integer({ min: 0, max: 5000 }));

type Mood = "now" | "late" | "throw" | "reject" | "errno";

/** The filesystem with answers that take turns in coming at once, late, or as errors of the world or of a program. */
function moody(fs: FileSystem, moods: readonly Mood[]): FileSystem {
  let turn = 0;
  return new Proxy(fs, {
    get(target, key: keyof FileSystem) {
      const member: unknown = Reflect.get(target, key);
      if (typeof member !== "function" || key === "attach") return member;
      return (...args: unknown[]) => {
        const mood = moods[turn++ % moods.length];
        if (mood === "throw") throw new TypeError("a bug");
        if (mood === "errno") return fail("EACCES");
        if (mood === "reject" && key !== "forget") return Promise.reject(new TypeError("a bug"));
        const result: unknown = (member as (...args: unknown[]) => unknown).apply(target, args);
        return mood === "late" && key !== "forget" ? Promise.resolve(result) : result;
      };
    },
  });
}

test("whatever the kernel sends and the filesystem does, each request has one answer, and a forget none", async (t) => {
  const mood = fc.constantFrom<Mood>("now", "late", "throw", "reject", "errno");
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(opcode, u64, body), { minLength: 1, maxLength: 30 }),
      fc.array(mood, { minLength: 1, maxLength: 7 }),
      async (requests, moods) => {
        const bench = new KernelBench(moody(new MemoryFileSystem(), moods));
        for (const [code, node, bytes] of requests) {
          const unique = bench.send(code, node, bytes);
          if (code === OPCODE.setlkw) bench.interrupt(unique);
          await bench.pending.idle();
          const count = bench.answersTo(unique).length;
          if (code === OPCODE.init) return count === 1;
          if (count !== (NO_ANSWER.includes(code) ? 0 : 1)) throw new Error(`${count} answers to opcode ${code}`);
        }
        return true;
      },
    ),
    { numRuns: 400 },
  );
  t.pass();
});

test("a message without a whole header is ignored", (t) => {
  const bench = new KernelBench(new MemoryFileSystem());
  for (let length = 0; length < 40; length++) bench.session.receive(Buffer.alloc(length, 1));
  t.equal(bench.answers.length, 1);
  t.end();
});

test("requests whose unique is above 2^53 are answered by exactly that", (t) => {
  const bench = new KernelBench(new MemoryFileSystem());
  const message = Buffer.alloc(56);
  message.writeUInt32LE(56, 0);
  message.writeUInt32LE(OPCODE.getattr, 4);
  message.writeBigUInt64LE(0xfedc_ba98_7654_3211n, 8);
  message.writeBigUInt64LE(1n, 16);
  bench.session.receive(message);
  t.equal(bench.answersTo(0xfedc_ba98_7654_3211n)[0]?.error, 0);
  t.end();
});

test("a protocol that is too old ends the session with an error and an answer", async (t) => {
  const bench = new KernelBench(new MemoryFileSystem(), { minor: 12 });
  t.equal(bench.answers[0]?.error, 71);
  t.match(await bench.session.ended, /7\.12/);
});

test("what the kernel did not take is given back: references and handles", async (t) => {
  for (const mood of ["now", "late"] as const) {
    const fs = new MemoryFileSystem();
    const bench = new KernelBench(moody(fs, [mood]));
    const create = Buffer.concat([Buffer.alloc(16), Buffer.from("file\0")]);
    create.writeUInt32LE(0o101, 0);
    create.writeUInt32LE(0o100644, 4);
    bench.send(OPCODE.create, 1n, create);
    await bench.pending.idle();
    const before = fs.census();
    t.same(before, { nodes: 2, references: 1, handles: 1 });
    const again = Buffer.concat([create.subarray(0, 16), Buffer.from("other\0")]);
    const list = Buffer.alloc(40);
    list.writeBigUInt64LE(2n, 0);
    list.writeUInt32LE(4096, 16);
    bench.send(OPCODE.opendir, 1n, Buffer.alloc(8));
    await bench.pending.idle();
    bench.result = -2; // ENOENT: the asker was killed
    for (const [code, node, bytes] of [
      [OPCODE.lookup, 1n, Buffer.from("file\0")],
      [OPCODE.create, 1n, again],
      [OPCODE.open, 2n, Buffer.alloc(8)],
      [OPCODE.opendir, 1n, Buffer.alloc(8)],
      [OPCODE.readdirplus, 1n, list],
    ] as const) {
      bench.send(code, node, bytes);
      await bench.pending.idle();
    }
    await Promise.resolve();
    t.same({ ...fs.census(), nodes: 0 }, { nodes: 0, references: 1, handles: 2 }, mood);
  }
});

test("a write through a mapping has its place, and O_APPEND counts as it is at the time of the write", (t) => {
  const O_RDWR = 0o2;
  const O_APPEND = 0o2000;
  const fs = new MemoryFileSystem();
  const root = { uid: 0, gid: 0, pid: 0 };
  const { attr } = fs.mknod(root, 1, "file" as never, 0o100644, 0, 0);
  const node = BigInt(attr?.ino ?? 0);
  const bench = new KernelBench(fs);
  const opened = Buffer.alloc(8);
  opened.writeUInt32LE(O_RDWR | O_APPEND, 0);
  const handle = bench.answersTo(bench.send(OPCODE.open, node, opened))[0]?.body.readBigUInt64LE(0) ?? 0n;
  // The upper bits say that it was opened for writing.
  const number = Number(handle & 0xffff_ffff_ffffn);
  const write = (off: number, text: string, kind: number, flags: number) => {
    const request = Buffer.alloc(40 + text.length);
    request.writeBigUInt64LE(handle, 0);
    request.writeBigUInt64LE(BigInt(off), 8);
    request.writeUInt32LE(text.length, 16);
    request.writeUInt32LE(kind, 20);
    request.writeUInt32LE(flags, 32);
    request.write(text, 40);
    bench.send(OPCODE.write, node, request);
  };
  write(0, "01234567", 0, O_RDWR | O_APPEND);
  write(0, "AB", 1, 0);
  t.equal(fs.read(number, 0, 100).toString(), "AB234567");
  write(2, "CD", 0, O_RDWR);
  t.equal(fs.read(number, 0, 100).toString(), "ABCD4567");
  write(2, "89", 0, O_RDWR | O_APPEND);
  t.equal(fs.read(number, 0, 100).toString(), "ABCD456789");
  t.end();
});

test("a listing counts only the entries that fit, and tells nothing of the dots", (t) => {
  const fs = new MemoryFileSystem();
  const root = { uid: 0, gid: 0, pid: 0 };
  for (let i = 0; i < 40; i++) fs.forget(fs.mknod(root, 1, `entry-${i}` as never, 0o100644, 0, 0).attr?.ino ?? 0, 1);
  const bench = new KernelBench(fs);
  const { handle } = fs.opendir(root, 1);
  for (const size of [0, 150, 151, 160, 320, 1000, 4096, 65536]) {
    const before = fs.census().references;
    const request = Buffer.alloc(40);
    request.writeBigUInt64LE(BigInt(handle), 0);
    request.writeUInt32LE(size, 16);
    const answer = bench.answersTo(bench.send(OPCODE.readdirplus, 1n, request))[0];
    const nodes = [...entries(answer?.body ?? Buffer.alloc(0))];
    t.ok((answer?.body.length ?? 0) <= size);
    t.equal(nodes.filter((node) => node !== 0).length, fs.census().references - before, `${size} bytes`);
    t.same(nodes.slice(0, 2), [0, 0].slice(0, nodes.length));
  }
  t.end();
});

function* entries(page: Buffer) {
  for (let at = 0; at < page.length;) {
    yield Number(page.readBigUInt64LE(at));
    at += 152 + ((page.readUInt32LE(at + 128 + 16) + 7) & ~7);
  }
}
