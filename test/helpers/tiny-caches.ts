/**
 * Loaded into a daemon or a mount by tests (`node --import`, see `tiny`), never by the product: it forgets nearly all that
 * it may forget, and the kernel asks it each time, so that what was forgotten is what the next question is about.
 *
 * A mount keeps two names, two chunks' bytes, two inodes that the kernel has dropped, and the names of folders with three
 * in all. A metadata daemon keeps one row or two.
 */
import { fileURLToPath } from "node:url";

/** The environment that makes daemons and mounts which are started with it have hardly any caches. */
export function tiny(): Record<string, string> {
  return { NODE_OPTIONS: `--import=${fileURLToPath(import.meta.url)}`, TEST_TINY_CACHES: "1" };
}

const FEW = 2;
const NAMES = 3;

type Method = (this: object, ...args: unknown[]) => unknown;

/** Does something with the object before each call of its methods. */
function before(prototype: object, methods: readonly string[], work: (object: object) => void): void {
  for (const method of methods) {
    const original = Reflect.get(prototype, method) as Method;
    Reflect.set(prototype, method, function (this: object, ...args: unknown[]): unknown {
      work(this);
      return original.apply(this, args);
    });
  }
}

/** An option of the command line, unless a supervisor has passed it on. */
function option(name: string, value: string): void {
  if (!process.argv.includes(name)) process.argv.push(name, value);
}

async function shrinkMount(): Promise<void> {
  const { LRUCache } = await import("lru-cache");
  const { InodeTable } = await import("../../mount/vfs/inodes.js");
  const { KnownNames } = await import("../../mount/vfs/known-names.js");
  option("--cache", "64KiB");
  option("--dirty", "1MiB");
  const set = Reflect.get(LRUCache.prototype, "set") as Method;
  Reflect.set(LRUCache.prototype, "set", function (this: InstanceType<typeof LRUCache>, ...args: unknown[]): unknown {
    const result = set.apply(this, args);
    while (this.size > FEW) this.pop();
    return result;
  });
  before(InodeTable.prototype, ["retire"], (table) => Reflect.set(table, "idleMax", FEW));
  before(KnownNames.prototype, ["set", "add"], (names) => Reflect.set(names, "totalMax", NAMES));
  InodeTable.prototype.validMs = () => 0;
}

if (process.env["TEST_TINY_CACHES"] === "1") {
  const [, , role] = process.argv;
  if (role === "mount") await shrinkMount();
  if (role === "meta") option("--cache", "1KiB");
}
