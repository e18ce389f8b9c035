import { randomInt } from "node:crypto";
import { test } from "tap";
import { OPCODE } from "../../../../mount/kernel/codec/opcodes.js";
import type { FileSystem } from "../../../../mount/vfs/filesystem.js";
import { fail } from "../../../../proto/errno.js";
import { Chance } from "../../../helpers/chance.js";
import { KernelBench, NO_ANSWER } from "../../../helpers/kernel-bench.js";
import { MemoryFileSystem } from "../../../helpers/memory-filesystem.js";
import { collectGarbage } from "../../../helpers/garbage.js";

const SEED = Number(process.env.FUZZ_SEED ?? randomInt(2 ** 31));
const ROUNDS = 20;
/** What its body says changes nothing. */
const WITHOUT_A_BODY = ["opendir"];
/** What the largest answer may be: a read of 1 MiB, with its header. */
const ANSWER_MAX = (1 << 20) + 4096;
const GROWTH_MAX = 64 << 20;
/** The filesystem in memory goes through a file page by page. */
const FILE_MAX = 1 << 30;

/** A file that is open and the root folder, so that requests reach further than "no such handle". */
interface Place {
  readonly bench: KernelBench;
  readonly file: bigint;
  readonly handle: bigint;
  readonly listing: bigint;
}

/** The filesystem with files of at most FILE_MAX. */
function bounded(fs: FileSystem): FileSystem {
  const isFar = (value: unknown): boolean => {
    if (typeof value === "object" && value !== null)
      return ["off", "size"].some((key) => isFar(Reflect.get(value, key)));
    return typeof value === "number" && value > FILE_MAX;
  };
  return new Proxy(fs, {
    get(target, key) {
      const member: unknown = Reflect.get(target, key);
      if (typeof member !== "function") return member;
      const work = member.bind(target) as (...args: unknown[]) => unknown;
      if (!["setattr", "write", "fallocate", "copyRange", "lseek"].includes(String(key))) return work;
      return (...args: unknown[]) => (args.some(isFar) ? fail("EFBIG") : work(...args));
    },
  });
}

async function place(): Promise<Place> {
  const bench = new KernelBench(bounded(new MemoryFileSystem()));
  const create = Buffer.concat([u32(0o102, 0o100644, 0, 0), text("file")]);
  const made = bench.answersTo(bench.send(OPCODE.create, 1n, create))[0]?.body ?? Buffer.alloc(0);
  const listing = bench.answersTo(bench.send(OPCODE.opendir, 1n, u32(0, 0)))[0]?.body ?? Buffer.alloc(0);
  await bench.pending.idle();
  return {
    bench,
    file: made.readBigUInt64LE(0),
    handle: made.readBigUInt64LE(128),
    listing: listing.readBigUInt64LE(0),
  };
}

function u32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, i) => bytes.writeUInt32LE(value >>> 0, i * 4));
  return bytes;
}

function u64(...values: bigint[]): Buffer {
  const bytes = Buffer.alloc(values.length * 8);
  values.forEach((value, i) => bytes.writeBigUInt64LE(value, i * 8));
  return bytes;
}

function text(value: string): Buffer {
  return Buffer.from(`${value}\0`);
}

const join = (...parts: Buffer[]) => Buffer.concat(parts);

/** A request of each kind as a kernel sends it: the node that it is about, and its body. */
function whole({
  file,
  handle,
  listing,
}: Place): Readonly<Record<Exclude<keyof typeof OPCODE, "init">, [bigint, Buffer]>> {
  const range = join(u64(handle, 0n), u32(4096, 0), u64(0n), u32(0, 0));
  const listed = join(u64(listing, 0n), u32(4096, 0), u64(0n), u32(0, 0));
  const lock = join(u64(handle, 7n, 0n, 9n), u32(1, 77, 0, 0));
  const copy = u64(handle, 0n, file, handle, 8192n, 100n, 0n);
  return {
    lookup: [1n, text("file")],
    forget: [file, u64(0n)],
    getattr: [file, join(u32(1, 0), u64(handle))],
    setattr: [file, join(u32(0x3f, 0), u64(handle, 5000n, 0n, 1n, 2n, 3n), u32(4, 5, 6, 0o644, 0, 7, 8, 0))],
    readlink: [file, Buffer.alloc(0)],
    symlink: [1n, join(text("link"), text("target"))],
    mknod: [1n, join(u32(0o100644, 0, 0o22, 0), text("node"))],
    mkdir: [1n, join(u32(0o755, 0o22), text("folder"))],
    unlink: [1n, text("node")],
    rmdir: [1n, text("folder")],
    rename: [1n, join(u64(1n), text("link"), text("moved"))],
    link: [1n, join(u64(file), text("hard"))],
    open: [file, u32(2, 0)],
    read: [file, range],
    write: [file, join(u64(handle, 0n), u32(5, 0), u64(0n), u32(2, 0), Buffer.from("bytes"))],
    statfs: [1n, Buffer.alloc(0)],
    release: [file, join(u64(99n), u32(2, 2), u64(7n))],
    fsync: [file, join(u64(handle), u32(1, 0))],
    setxattr: [file, join(u32(5, 0, 0, 0), text("user.x"), Buffer.from("value"))],
    getxattr: [file, join(u32(100, 0), text("user.x"))],
    listxattr: [file, u32(100, 0)],
    removexattr: [file, text("user.x")],
    flush: [file, join(u64(handle), u32(0, 0), u64(7n))],
    opendir: [1n, u32(0, 0)],
    readdir: [1n, listed],
    releasedir: [1n, join(u64(99n), u32(0, 0), u64(0n))],
    fsyncdir: [1n, join(u64(listing), u32(0, 0))],
    getlk: [file, lock],
    setlk: [file, lock],
    setlkw: [file, lock],
    access: [file, u32(4, 0)],
    create: [1n, join(u32(0o102, 0o644, 0o22, 0), text("another"))],
    interrupt: [0n, u64(12345n)],
    destroy: [0n, Buffer.alloc(0)],
    batchForget: [0n, join(u32(1, 0), u64(file, 0n))],
    fallocate: [file, join(u64(handle, 0n, 100n), u32(0, 0))],
    readdirplus: [1n, listed],
    rename2: [1n, join(u64(1n), u32(1, 0), text("moved"), text("again"))],
    lseek: [file, join(u64(handle, 0n), u32(3, 0))],
    copyFileRange: [file, copy],
    tmpfile: [1n, join(u32(0o20200002, 0o600, 0o22, 0), text(""))],
    statx: [file, join(u32(1, 0), u64(handle), u32(0, 0xfff))],
    copyFileRange64: [file, copy],
  };
}

/** Sends it; exactly one answer has come, or none where there is none, of a size that a kernel takes. */
async function answered({ bench }: Place, code: number, node: bigint, body: Buffer): Promise<number | undefined> {
  const before = bench.answers.length;
  const unique = bench.send(code, node, body);
  if (code === OPCODE.setlkw) bench.interrupt(unique);
  await bench.pending.idle();
  const answers = bench.answers.splice(before);
  const told = `opcode ${code}, node ${node}, body ${body.toString("hex")}`;
  if (answers.length !== (NO_ANSWER.includes(code) ? 0 : 1)) throw new Error(`${answers.length} answers to ${told}`);
  const [answer] = answers;
  if (answer === undefined) return undefined;
  if (answer.unique !== unique) throw new Error(`another request was answered than ${told}`);
  if (answer.error < 0 || answer.error >= 512) throw new Error(`errno ${answer.error} to ${told}`);
  if (answer.body.length > ANSWER_MAX) throw new Error(`${answer.body.length} bytes to ${told}`);
  return answer.error;
}

/** The body with some bytes, or whole fields, replaced by what is random or at a limit. */
function damaged(body: Buffer, chance: Chance): Buffer {
  const bytes = Buffer.from(body);
  for (let n = 1 + chance.below(4); n > 0 && bytes.length > 0; n--) {
    const at = chance.below(bytes.length);
    const fill = [0, 0xff, 0x7f, 0x80, chance.below(256)][chance.below(5)] ?? 0;
    bytes.fill(fill, at, Math.min(bytes.length, at + [1, 4, 8][chance.below(3)]!));
  }
  const left = chance.below(4) === 0 ? chance.below(bytes.length + 1) : bytes.length;
  const more = chance.below(4) === 0 ? Buffer.alloc(chance.below(200), chance.below(256)) : Buffer.alloc(0);
  return Buffer.concat([bytes.subarray(0, left), more]);
}

test("each kind of request is understood when it is whole, and answered once when it is cut off anywhere", async (t) => {
  const at = await place();
  for (const [name, [node, body]] of Object.entries(whole(at))) {
    const code = OPCODE[name as keyof typeof OPCODE];
    t.not(await answered(at, code, node, body), 38, `${name} is known`);
    const errors: (number | undefined)[] = [];
    for (let length = 0; length < body.length; length++)
      errors.push(await answered(at, code, node, body.subarray(0, length)));
    if (errors.length > 0 && errors[0] !== undefined && !WITHOUT_A_BODY.includes(name))
      t.equal(errors[0], 22, `${name} without its body`);
  }
});

test("damaged requests of every kind have one answer each, and leave no memory behind", async (t) => {
  t.comment(`FUZZ_SEED=${SEED}`);
  const chance = new Chance(SEED);
  const round = async () => {
    const at = await place();
    for (const [name, [node, body]] of Object.entries(whole(at))) {
      for (let n = 0; n < 12; n++) {
        const about = chance.below(6) === 0 ? BigInt(chance.below(2 ** 31)) << BigInt(chance.below(33)) : node;
        await answered(at, OPCODE[name as keyof typeof OPCODE], about, damaged(body, chance));
      }
    }
  };
  for (let n = 0; n < ROUNDS / 2; n++) await round();
  const before = collectGarbage();
  for (let n = 0; n < ROUNDS; n++) await round();
  const growth = collectGarbage() - before;
  t.ok(growth < GROWTH_MAX, `${growth} bytes more`);
});

test("bytes that are no requests are answered once or not at all", async (t) => {
  t.comment(`FUZZ_SEED=${SEED}`);
  const chance = new Chance(SEED ^ 1);
  const { bench } = await place();
  for (let n = 0; n < 20_000; n++) {
    const message = Buffer.alloc(chance.below(300));
    for (let i = 0; i < message.length; i++) message[i] = chance.below(256);
    // Opcodes that exist come by chance too seldom; a second INIT would end the session.
    if (message.length >= 8) message.writeUInt32LE(27 + chance.below(40), 4);
    const before = bench.answers.length;
    bench.sendRaw(message);
    await bench.pending.idle();
    const count = bench.answers.splice(before).length;
    if (count > 1) t.fail(`${count} answers to ${message.toString("hex")}`);
  }
  t.pass();
});

test("what is not known is ENOSYS, and of the flags of INIT only those are agreed on that were offered and are known", (t) => {
  const known: number[] = Object.values(OPCODE);
  const all = new KernelBench(new MemoryFileSystem());
  for (const code of [...Array(100).keys(), 4096].filter((n) => !known.includes(n))) {
    t.equal(all.answersTo(all.send(code, 1n, Buffer.alloc(64)))[0]?.error, 38, `opcode ${code}`);
  }
  const reply = (bench: KernelBench) => bench.answers[0]?.body ?? Buffer.alloc(0);
  const bits = (value: number, from: number) =>
    [...Array(32).keys()].filter((n) => (value >>> n) & 1).map((n) => n + from);
  const agreed = [...bits(reply(all).readUInt32LE(12), 0), ...bits(reply(all).readUInt32LE(32), 32)];
  // POSIX_LOCKS 1, ATOMIC_O_TRUNC 3, DONT_MASK 6, FLOCK_LOCKS 10, POSIX_ACL 20, HANDLE_KILLPRIV_V2 28, SETXATTR_EXT 29, ...
  t.same(agreed, [0, 1, 3, 5, 6, 10, 12, 13, 14, 15, 18, 20, 21, 22, 23, 28, 29, 30, 35, 36, 39]);
  const old = new KernelBench(new MemoryFileSystem(), { minor: 31, flags: 1 << 1 });
  t.equal(reply(old).readUInt32LE(12), 1 << 1);
  t.equal(reply(old).readUInt32LE(32), 0, "without INIT_EXT there are no further flags");
  t.equal(reply(old).readUInt32LE(4), 31);
  t.end();
});

test("a file that is not cached takes several direct writes at once, one that is cached does not say so", (t) => {
  const FOPEN_DIRECT_IO = 1;
  const FOPEN_PARALLEL_DIRECT_WRITES = 64;
  for (const direct of [true, false]) {
    const fs = new MemoryFileSystem();
    fs.open = () => ({ handle: 5, keepCache: false, direct });
    const bench = new KernelBench(fs);
    const flags = bench.answersTo(bench.send(OPCODE.open, 1n, u32(2, 0)))[0]?.body.readUInt32LE(8);
    t.equal(flags, direct ? FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES : 0);
  }
  t.end();
});
