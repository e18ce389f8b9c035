/**
 * Loaded into a daemon by its tests (`node --import`, see `mortally`), never by the product: ends it by SIGKILL at a named
 * step, or sets its clock wrong.
 *
 *     TEST_DIE_AT    "before rename chunk@3": at the third time that a chunk's file is about to be renamed
 *     TEST_SKEW_SEC  its wall clock is ahead by so much
 *     TEST_POISON    buffers that are used again and again are filled with 0xDB as soon as they may be
 *
 * Steps of a store: "LABEL KIND", LABEL a call of Disk, KIND what it is about (chunk, journal, folder, other); "report X"
 * and "say X", messages to the metadata daemon ("after": it has answered); "push X", what the metadata daemon tells it.
 * Steps of a metadata daemon: "commit" (after: it is on disk, and nobody was told yet) and "push X". Steps of a mount: "put"
 * of a chunk, "ask X" of the metadata daemon (before: not sent; after: whoever asked has the answer) and "answer X" (before:
 * it has come, and nothing knows of it).
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { fileURLToPath } from "node:url";
import { systemClock } from "../../daemon/common/clock.js";

/** The environment that makes daemons which are started with it die there. */
export function mortally(dieAt: string): Record<string, string> {
  return { NODE_OPTIONS: `--import=${fileURLToPath(import.meta.url)}`, TEST_DIE_AT: dieAt };
}

/** The environment that makes daemons which are started with it believe that it is so many seconds later. */
export function skewed(seconds: number): Record<string, string> {
  return { NODE_OPTIONS: `--import=${fileURLToPath(import.meta.url)}`, TEST_SKEW_SEC: `${seconds}` };
}

/** The environment that makes daemons and mounts which are started with it poison their buffers after use. */
export function poisoned(): Record<string, string> {
  return { NODE_OPTIONS: `--import=${fileURLToPath(import.meta.url)}`, TEST_POISON: "1" };
}

const [wanted = "", count = "1"] = (process.env["TEST_DIE_AT"] ?? "").split("@");
let left = Number(count);

function step(name: string): void {
  if (name === wanted && --left === 0) process.kill(process.pid, "SIGKILL");
}

type Method = (...args: unknown[]) => unknown;

/** Makes a step of a method, before it is called and when what it promised has come. */
function steps(target: object, method: string, nameOf: (args: unknown[]) => string): void {
  const original = Reflect.get(target, method) as Method;
  const stepped = function (this: unknown, ...args: unknown[]): unknown {
    const name = nameOf(args);
    step(`before ${name}`);
    const result = original.apply(this, args);
    if (!(result instanceof Promise)) {
      step(`after ${name}`);
      return result;
    }
    return result.then((value: unknown) => {
      step(`after ${name}`);
      return value;
    });
  };
  Reflect.set(target, method, stepped);
}

function kindOf(path: string): string {
  if (path.endsWith(".chunk")) return "chunk";
  if (/\/journal(\.tmp)?$/.test(path)) return "journal";
  return /\/chunks(\/..)?$/.test(path) ? "folder" : "other";
}

const caseOf = ([op]: unknown[]): string => (op as { $case: string }).$case;

async function stepStore(): Promise<void> {
  const { nodeDisk } = await import("../../daemon/store/disk.js");
  const { NodeLink } = await import("../../daemon/store/node-link.js");
  const { Pushes } = await import("../../daemon/store/pushes.js");
  for (const label of ["write", "append", "read", "open", "sync", "remove", "list", "makeFolder"]) {
    steps(nodeDisk, label, ([path]) => `${label} ${kindOf(path as string)}`);
  }
  steps(nodeDisk, "rename", ([, into]) => `rename ${kindOf(into as string)}`);
  const create = nodeDisk.create.bind(nodeDisk);
  nodeDisk.create = async (path, parts) => {
    const file = await create(path, parts);
    steps(file, "sync", () => "fsync chunk");
    return file;
  };
  steps(nodeDisk, "create", () => "create chunk");
  steps(NodeLink.prototype, "report", (args) => `report ${caseOf(args)}`);
  steps(NodeLink.prototype, "say", (args) => `say ${caseOf(args)}`);
  steps(Pushes.prototype, "handle", (args) => `push ${caseOf(args)}`);
}

async function stepMeta(): Promise<void> {
  const { SqliteStore } = await import("../../daemon/meta/sqlite/sqlite-store.js");
  const { Member } = await import("../../daemon/meta/cluster/member.js");
  steps(SqliteStore.prototype, "commit", () => "commit");
  steps(Member.prototype, "push", (args) => `push ${caseOf(args)}`);
}

async function stepMount(): Promise<void> {
  const { StoreClients } = await import("../../mount/clients/store-clients.js");
  const { Requests } = await import("../../mount/clients/requests.js");
  steps(StoreClients.prototype, "put", () => "put");
  steps(Requests.prototype, "add", (args) => `ask ${caseOf(args)}`);
  steps(Requests.prototype, "answered", ([frame]) => `answer ${(frame as { op?: { $case: string } }).op?.$case}`);
}

const role = process.argv[2];
if (wanted !== "" && role === "store") await stepStore();
if (wanted !== "" && role === "meta") await stepMeta();
if (wanted !== "" && role === "mount") await stepMount();

const skewSec = Number(process.env["TEST_SKEW_SEC"] ?? 0);
if (skewSec !== 0 && (role === "store" || role === "meta")) {
  const now = systemClock.now.bind(systemClock);
  systemClock.now = () => {
    const { sec, nsec } = now();
    return { sec: sec + skewSec, nsec };
  };
}

const POISON = 0xdb;
/** Bytes of one piece of that memory (daemon/store/direct-write.ts). */
const DIRECT_SLOT = 1024 * 1024;

/** The request of the kernel, as soon as whoever serves it has returned. */
async function poisonRequests(): Promise<void> {
  const { FuseDevice } = await import("../../mount/kernel/device.js");
  const read = Reflect.get(FuseDevice.prototype, "read") as Method;
  FuseDevice.prototype.read = function (into: Buffer): number {
    const got = read.call(this, into) as number;
    if (got > 0) queueMicrotask(() => into.fill(POISON, 0, got));
    return got;
  };
}

/** Memory that direct writes go through, as soon as they are written. */
function poisonWrites(): void {
  const write = fs.write.bind(fs) as Method;
  const poisoning = (file: number, from: Buffer, ...rest: unknown[]): unknown => {
    const done = rest.at(-1) as Method;
    const isPooled = from.byteLength === DIRECT_SLOT && from.buffer.byteLength > from.byteLength;
    const answer = (...answers: unknown[]): unknown => {
      if (isPooled) from.fill(POISON, 0);
      return done(...answers);
    };
    return write(file, from, ...rest.slice(0, -1), answer);
  };
  Reflect.set(fs, "write", poisoning);
  syncBuiltinESMExports();
}

if (process.env["TEST_POISON"] === "1") {
  if (role === "mount") await poisonRequests();
  if (role === "store") poisonWrites();
}
