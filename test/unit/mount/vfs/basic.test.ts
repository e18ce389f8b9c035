import { test } from "tap";
import { CHUNK, Lab, WHO, flags, name, pattern } from "./lab.js";

void test("whether a write appends is said by the write", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { ino, handle } = await lab.create(a, "f", { append: true });
  await lab.write(a, handle, 0, Buffer.from("01234567"));
  await lab.end(a.vfs.write(handle, 2, Buffer.from("AB"), { append: false, sync: false }));
  t.equal((await lab.content(a, ino)).toString(), "01AB4567");
  await lab.end(a.vfs.write(handle, 2, Buffer.from("89"), { append: true, sync: false }));
  t.equal((await lab.content(a, ino)).toString(), "01AB456789");
});

void test("what was written is read back before and after it is stored, here and on another mount", async (t) => {
  const lab = new Lab();
  const a = lab.mount();
  const { ino, handle } = await lab.create(a, "f");
  const data = pattern(3 * CHUNK + 1234, 1);
  await lab.write(a, handle, 0, data);
  t.same(await lab.end(a.vfs.read(handle, 100, 5000)), data.subarray(100, 5100));
  t.equal((await lab.end(a.vfs.getattr(WHO, ino))).attr.size, data.length);
  await lab.close(a, handle);
  t.same(await lab.content(a, ino), data);

  const b = lab.mount();
  const there = await lab.lookup(b, "f");
  t.equal(there, ino);
  t.same(await lab.content(b, there), data);
  t.same(await lab.end(b.vfs.open(WHO, there, flags())).then((o) => o.direct), false);
  t.equal(await lab.lookup(b, "g"), 0);
  t.equal(await lab.errno(() => b.vfs.unlink(WHO, 1, name("g"))), "ENOENT");
});

void test("what the kernel still holds when its name is removed here has attributes, and no links", async (t) => {
  const lab = new Lab();
  const [a, b] = [lab.mount(), lab.mount()];
  for (const each of ["mine", "replaced", "others"]) {
    const { attr } = await lab.end(a.vfs.mkdir(WHO, 1, name(each), 0o755, 0));
    const ino = attr?.ino ?? 0;
    await lab.lookup(b, each);
    if (each === "replaced") {
      await lab.end(a.vfs.mkdir(WHO, 1, name("new"), 0o755, 0));
      const names = { fromDir: 1, fromName: name("new"), intoDir: 1, intoName: name(each) };
      await lab.end(a.vfs.rename(WHO, { ...names, noReplace: false, exchange: false }));
    } else {
      await lab.end((each === "mine" ? a : b).vfs.rmdir(WHO, 1, name(each)));
    }
    const asked = () => a.vfs.getattr(WHO, ino);
    if (each === "others") {
      t.equal(await lab.errno(asked), "ESTALE", "the kernel looks the name up again");
      continue;
    }
    t.match(await lab.end(asked()), { attr: { ino, nlink: 0 }, attrMs: 0 });
    await lab.end(a.vfs.setattr(WHO, ino, { mode: 0o700, uid: 5 }));
    t.match(await lab.end(asked()), { attr: { ino, nlink: 0, mode: 0o040700, uid: 5 } }, "and what is set");
  }
});
