import { test } from "tap";
import { attrOf } from "../../../../daemon/meta/rules/inodes.js";
import { settle } from "../../../helpers/fake-clock.js";
import { Lab, type Mount, WHO, flags, name, pattern } from "./lab.js";

/** What is told by one program while another one's change of the same folder or file is asked for. */
interface Place {
  readonly lab: Lab;
  readonly mount: Mount;
  readonly dir: number;
  readonly ino: number;
}

async function place(): Promise<Place> {
  const lab = new Lab();
  const mount = lab.mount();
  mount.meta.exclusive = true;
  const { vfs } = mount;
  const dir = (await lab.end(vfs.mkdir(WHO, 1, name("dir"), 0o755, 0))).attr?.ino ?? 0;
  const made = await lab.end(vfs.create(WHO, dir, name("f"), 0o644, 0, { ...flags(), exclusive: true }));
  await lab.write(mount, made.handle, 0, pattern(100, 1));
  await lab.close(mount, made.handle);
  return { lab, mount, dir, ino: made.attr?.ino ?? 0 };
}

/** Attributes as they are shown, and as the daemon has them. */
async function both({ lab, mount }: Place, ino: number) {
  return [(await lab.end(mount.vfs.getattr(WHO, ino))).attr, attrOf(lab.cluster.inode(ino)!)];
}

void test("a folder shows what was asked for and what was told meanwhile, in whatever order the answers come", async (t) => {
  for (const late of ["make", "unlink"]) {
    const p = await place();
    const { lab, mount, dir } = p;
    mount.meta.after = (op) => settle(op === late ? 200 : 50);
    const made = mount.vfs.mkdir(WHO, dir, name("sub"), 0o755, 0);
    await settle(30);
    t.notOk(mount.vfs.unlink(WHO, dir, name("f")) instanceof Promise, "it does not wait");
    await lab.end(made);
    t.equal((await lab.end(mount.vfs.getattr(WHO, dir))).attr.nlink, 3, "at once");
    await settle(1000);
    const [shown, stored] = await both(p, dir);
    t.same(shown, stored);
  }
});

void test("attributes of a file that is being cut are not told, nor its new name", async (t) => {
  for (const what of ["chmod", "rename"]) {
    const p = await place();
    const { lab, mount, dir, ino } = p;
    mount.meta.after = (_, args) => settle((args as { size?: number }).size === 10 ? 60 : 300);
    const cut = mount.vfs.setattr(WHO, ino, { size: 10 });
    await settle(30);
    const into = { fromDir: dir, fromName: name("f"), intoDir: dir, intoName: name("g") };
    const then =
      what === "chmod"
        ? mount.vfs.setattr(WHO, ino, { mode: 0o600 })
        : mount.vfs.rename(WHO, { ...into, noReplace: false, exchange: false });
    t.equal((await lab.end(cut)).attr.size, 10, "as it was cut");
    await lab.end(Promise.resolve(then as Promise<unknown>));
    const [shown, stored] = await both(p, ino);
    t.same(shown, stored);
  }
});
