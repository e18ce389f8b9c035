import fc from "fast-check";
import { test } from "tap";
import { idIn } from "../../../../daemon/meta/keys.js";
import { MemoryStore } from "../../../../daemon/meta/memory-store.js";
import type { Context } from "../../../../daemon/meta/rules/context.js";
import { make } from "../../../../daemon/meta/rules/make.js";
import { rename } from "../../../../daemon/meta/rules/rename.js";
import { rmdir, unlink } from "../../../../daemon/meta/rules/unlink.js";
import { ROOT_INO, createVolume } from "../../../../daemon/meta/rules/volume.js";
import type { Tx } from "../../../../daemon/meta/tx.js";
import { FsError } from "../../../../proto/errno.js";
import { Make, Rename } from "../../../../proto/gen/bigfs/v1/meta.js";
import { executorOver } from "./lab.js";

const NOW = { sec: 1, nsec: 0 };
const FOLDER = Buffer.from("folder");
const WHO = { uid: 0, gid: 0, groups: [], checked: false };

interface Op {
  readonly kind: "create" | "unlink" | "rmdir" | "mkdir" | "move out" | "move in";
  readonly name: string;
  readonly session: number;
}

const op: fc.Arbitrary<Op> = fc.record({
  kind: fc.constantFrom("create", "create", "unlink", "rmdir", "rmdir", "mkdir", "move out", "move in"),
  name: fc.constantFrom("a", "b"),
  session: fc.integer({ min: 1, max: 3 }),
});

function contextOf(session: number, firstIno: number): Context {
  let ino = firstIno;
  return {
    ...{ who: WHO, now: NOW, session, readOnly: false },
    ...{ freshIno: () => ino++, isOpen: () => false, isLive: () => true },
    volume: { chunkSize: 65536, replicas: 2, minReplicas: 2 },
  };
}

/** The operation as one rule; `folder` is the inode of the folder as whoever asks has last seen it. */
function ruleOf({ kind, name }: Op, ctx: Context, folder: number): (tx: Tx) => unknown {
  const file = Buffer.from(name);
  const made = { exclusive: true, name: file, dir: folder, mode: 0o100644 };
  switch (kind) {
    case "create":
      return (tx) => make(tx, ctx, Make.fromPartial(made));
    case "mkdir":
      return (tx) => make(tx, ctx, Make.fromPartial({ ...made, dir: ROOT_INO, name: FOLDER, mode: 0o40755 }));
    case "unlink":
      return (tx) => unlink(tx, ctx, { dir: folder, name: file });
    case "rmdir":
      return (tx) => rmdir(tx, ctx, { dir: ROOT_INO, name: FOLDER });
    case "move out":
      return (tx) => rename(tx, ctx, renamed(folder, ROOT_INO, file));
    case "move in":
      return (tx) => rename(tx, ctx, renamed(ROOT_INO, folder, file));
  }
}

const renamed = (fromDir: number, intoDir: number, name: Buffer): Rename =>
  Rename.fromPartial({ fromDir, fromName: name, intoDir, intoName: name });

test("no folder is removed while a name comes into it, whatever rows have to be loaded for either (D38)", async (t) => {
  let removed = 0;
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), fc.array(op, { minLength: 2, maxLength: 10 }), async (s, ops) => {
      const store = new MemoryStore({ gate: (call, when) => s.schedule(Promise.resolve(), `${when} ${call}`) });
      const { executor } = executorOver(store, {
        cacheBytes: 1,
        defer: (go) => void s.schedule(Promise.resolve(), "batch").then(go),
      });
      let folder = 100;
      const volume = { uuid: "u", chunkSize: 65536, replicas: 2, minReplicas: 2, uid: 0, gid: 0, now: NOW };
      const run = async (each: Op, n: number) => {
        const ctx = contextOf(each.session, 100 + n * 10);
        const rule = ruleOf(each, ctx, folder);
        try {
          await executor.execute(each.session, rule);
          if (each.kind === "mkdir") folder = 100 + n * 10;
          if (each.kind === "rmdir") removed++;
        } catch (error) {
          // Whether it works depends on the others.
          if (!(error instanceof FsError) || error.errno === "EIO") throw error;
        }
      };
      const begin = async () => {
        await executor.execute(0, (tx) => createVolume(tx, volume));
        await run({ kind: "mkdir", name: "", session: 1 }, 0);
      };
      await s.waitFor(begin());
      const all = ops.map((each, n) => s.schedule(Promise.resolve(), "start").then(() => run(each, n + 1)));
      await s.waitFor(Promise.all(all));

      const scan = async () => {
        const { rows: entries } = await executor.scan<"E">(0, { from: "E", to: "F", limit: 100 });
        const { rows: inodes } = await executor.scan<"I">(0, { from: "I", to: "J", limit: 100 });
        return { entries, inodes };
      };
      const { entries, inodes } = await s.waitFor(scan());
      const counts = new Map(inodes.map(({ row }) => [row.ino, row.children]));
      for (const { key: at } of entries) {
        const dir = idIn(at);
        if (!counts.has(dir)) throw new Error(`inode ${dir} has gone, and there is a name in it`);
      }
      for (const [ino, children] of counts) {
        const found = entries.filter(({ key: at }) => idIn(at) === ino).length;
        if (found !== children) throw new Error(`inode ${ino} counts ${children} names and has ${found}`);
      }
    }),
    { numRuns: 300 },
  );
  t.ok(removed > 50, `${removed} folders were removed`);
});
