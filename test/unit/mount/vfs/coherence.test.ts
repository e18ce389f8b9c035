import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "tap";
import { FsError } from "../../../../proto/errno.js";
import { idIn, key } from "../../../../daemon/meta/keys.js";
import { attrOf } from "../../../../daemon/meta/rules/inodes.js";
import { settle } from "../../../helpers/fake-clock.js";
import { Lab, type Mount, WHO, name, runs } from "./lab.js";

const NAMES = ["a", "b", "c"];
const which = fc.nat(NAMES.length - 1);
const who = fc.nat(1);

const op = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom("mknod" as const, "mknod" as const, "mkdir" as const, "unlink" as const, "rmdir" as const),
      who,
      at: which,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom("rename" as const, "exchange" as const, "link" as const),
      who,
      at: which,
      into: which,
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom("chmod" as const, "xattr" as const), who, at: which }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom(
        "lookup" as const,
        "getattr" as const,
        "getattr" as const,
        "list" as const,
        "forget" as const,
      ),
      who,
      at: which,
    }),
  },
);

type Op = typeof op extends fc.Arbitrary<infer T> ? T : never;

/** What the kernel of a mount knows: names with their inodes, as it was told. */
class Machine {
  readonly known = new Map<string, number>();
  readonly references = new Map<number, number>();
  #count = 0;
  /** The folder that both work in. */
  dir = 1;

  constructor(
    readonly lab: Lab,
    readonly mount: Mount,
  ) {}

  async run(c: Op): Promise<void> {
    const { vfs } = this.mount;
    const at = name(NAMES[c.at] ?? "");
    const ino = this.known.get(at);
    const move = { fromDir: this.dir, fromName: at, intoDir: this.dir, noReplace: false };
    switch (c.do) {
      case "mknod":
        return this.#found(at, vfs.mknod(WHO, this.dir, at, 0o644, 0, 0));
      case "mkdir":
        return this.#found(at, vfs.mkdir(WHO, this.dir, at, 0o755, 0));
      case "unlink":
        return vfs.unlink(WHO, this.dir, at);
      case "rmdir":
        return vfs.rmdir(WHO, this.dir, at);
      case "rename":
        return vfs.rename(WHO, { ...move, intoName: name(NAMES[c.into] ?? ""), exchange: false });
      case "exchange":
        return vfs.rename(WHO, { ...move, intoName: name(NAMES[c.into] ?? ""), exchange: true });
      case "link":
        return ino === undefined
          ? undefined
          : this.#found(name(NAMES[c.into] ?? ""), vfs.link(WHO, ino, this.dir, name(NAMES[c.into] ?? "")));
      case "chmod":
        if (ino !== undefined) await vfs.setattr(WHO, ino, { mode: 0o600 + (++this.#count % 8) });
        return;
      case "xattr":
        if (ino !== undefined)
          await vfs.setxattr(WHO, ino, {
            name: name("user.n"),
            value: Buffer.from(`${++this.#count}`),
            flags: 0,
            killSgid: false,
          });
        return;
      case "lookup":
        return this.#found(at, vfs.lookup(WHO, this.dir, at));
      case "getattr":
        await vfs.getattr(WHO, ino ?? this.dir);
        return;
      case "forget":
        if (ino !== undefined) this.forget(ino);
        return;
      case "list":
        return this.#list();
    }
  }

  /** Every name is known. */
  async lookAround(): Promise<void> {
    for (const text of NAMES) await this.#found(text, this.mount.vfs.lookup(WHO, this.dir, name(text)));
  }

  forget(ino: number): void {
    const count = this.references.get(ino) ?? 0;
    if (count === 0) return;
    this.references.delete(ino);
    for (const [at, known] of this.known) if (known === ino) this.known.delete(at);
    this.mount.vfs.forget(ino, count);
  }

  async #found(at: string, work: ReturnType<Mount["vfs"]["lookup"]>): Promise<void> {
    const { attr } = await work;
    if (attr === undefined) return;
    this.known.set(at, attr.ino);
    this.references.set(attr.ino, (this.references.get(attr.ino) ?? 0) + 1);
  }

  async #list(): Promise<void> {
    const { vfs } = this.mount;
    const { handle } = await vfs.opendir(WHO, this.dir);
    for (let cookie = 0, more = true; more;) {
      more = false;
      let room = 2;
      await vfs.readdir(handle, cookie, true, (entry) => {
        more = true;
        if (room-- === 0) return false;
        cookie = entry.cookie;
        if (entry.found?.attr !== undefined) {
          this.known.set(entry.name, entry.ino);
          this.references.set(entry.ino, (this.references.get(entry.ino) ?? 0) + 1);
        }
        return true;
      });
      if (room === 2) more = false;
      await Promise.resolve();
    }
    await vfs.releasedir(handle);
  }
}

/** Everything that a mount says must be what the metadata daemon has, whatever it says it from. */
async function check(lab: Lab, machine: Machine): Promise<void> {
  const { vfs } = machine.mount;
  const { dir } = machine;
  for (const text of NAMES) {
    const entry = lab.cluster.rows.get(key.entry(dir, name(text)));
    const { attr } = await lab.end(vfs.lookup(WHO, dir, name(text)));
    const inode = entry === undefined ? undefined : lab.cluster.inode(entry.ino);
    assert.deepEqual(attr, inode && attrOf(inode), `lookup ${text}`);
    if (attr !== undefined) vfs.forget(attr.ino, 1);
  }
  for (const ino of machine.references.keys()) {
    const inode = lab.cluster.inode(ino);
    if (inode === undefined) continue;
    assert.deepEqual((await lab.end(vfs.getattr(WHO, ino))).attr, attrOf(inode), `getattr ${ino}`);
    const stored = lab.cluster.rows.get(key.xattrs(ino))?.xattrs ?? [];
    assert.deepEqual(await lab.end(vfs.listxattr(WHO, ino)), stored, `xattrs of ${ino}`);
  }
  const names: string[] = [];
  const { handle } = await lab.end(vfs.opendir(WHO, dir));
  await lab.end(vfs.readdir(handle, 0, false, (entry) => names.push(entry.name) > 0));
  await lab.end(vfs.releasedir(handle));
  const entries = lab.cluster.rows.of("C").filter(([at]) => idIn(at) === dir);
  const expected = entries.map(([, row]) => row.name.toString());
  assert.deepEqual(names, [".", "..", ...expected]);
}

void test("two mounts work in one folder at the same time, and neither ever answers from a stale cache (D23)", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.nat(),
      fc.constantFrom(0, 1, 1000),
      fc.boolean(),
      fc.array(fc.array(op, { minLength: 1, maxLength: 16 }), { maxLength: 6 }),
      async (seed, idleInodes, isMadeHere, rounds) => {
        const lab = new Lab({ seed });
        const machines = [new Machine(lab, lab.mount({ idleInodes })), new Machine(lab, lab.mount({ idleInodes }))];
        for (const { mount } of machines) await lab.end(mount.vfs.getattr(WHO, 1));
        if (isMadeHere) {
          await lab.end(machines[0]?.mount.vfs.mkdir(WHO, 1, name("dir"), 0o755, 0));
          const ino = await lab.lookup(machines[1]?.mount ?? lab.mount(), "dir");
          for (const machine of machines) machine.dir = ino;
        }
        for (const round of rounds) {
          for (const machine of machines) if (!isMadeHere) await lab.end(machine.lookAround());
          const running = round.map(async (c) => {
            await settle(lab.chance.below(30));
            try {
              await machines[c.who]?.run(c);
            } catch (error) {
              // Whether it works depends on the others.
              if (!(error instanceof FsError)) throw error;
            }
          });
          await lab.end(Promise.all(running).then(() => undefined));
          for (const machine of machines) await check(lab, machine);
        }
        for (const { mount, references, dir } of machines) {
          if (dir !== 1) mount.vfs.forget(dir, 1);
          for (const [ino, count] of references) mount.vfs.forget(ino, count);
          const inodes = await mount.registry.getSingleMetricAsString("bigfs_mount_inodes");
          assert.match(
            inodes,
            /bigfs_mount_inodes [01]$/m,
            "only the root is left when the kernel has forgotten everything",
          );
          await lab.clock.advance(2000);
          if (idleInodes > 0) continue;
          assert.deepEqual(
            [...mount.meta.leases].filter(
              (lease) => lease.startsWith("I") && references.has(Number.parseInt(lease.slice(1), 16)),
            ),
            [],
            "and the metadata daemon knows that",
          );
        }
      },
    ),
    runs(60),
  );
});
