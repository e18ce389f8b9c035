import { join } from "node:path";
import { test } from "tap";
import { TestCluster } from "../helpers/cluster.js";
import { packageRoot } from "../helpers/package-root.js";
import { must, needs, sh } from "../helpers/run.js";

const EVERY_KIND = join(packageRoot, "test/helpers/every-kind.py");
const TAR = "tar --acls --xattrs --xattrs-include='*' --numeric-owner --warning=none";

/** Everything of the folder, by lines. */
const tell = async (folder: string) => (await must("python3", [EVERY_KIND, "tell", folder])).split("\n");
/** What the programs for access control lists and extended attributes say of it. */
const rules = (folder: string) =>
  sh(
    `export LC_ALL=C; find . ! -type l ! -type s -print0 | sort -z | xargs -0 getfacl -pn
     find . ! -type s -print0 | sort -z | xargs -0 getfattr -h -d -m - -e hex`,
    { cwd: folder },
  );

test("cp -a, rsync and tar carry everything of every kind of file onto a mount, and from it", async (t) => {
  await needs("rsync", "setfacl", "getfacl", "getfattr");
  const cluster = await TestCluster.start(t);
  const second = await cluster.mountAgain("second");
  const at = (name: string) => join(cluster.dir, name);
  const tree = at("tree");
  await must("python3", [EVERY_KIND, "make", tree]);
  const all = await tell(tree);
  t.ok(all.length > 150);
  const [acls, attributes] = [await rules(tree), all.filter((line) => line.includes("trusted."))];
  t.match(acls, /user:1000:rwx[^]*user\.bytes=0x0001/, "the tree has lists and attributes");
  t.equal(attributes.length, 4, "those of links and devices too");

  await t.test("cp -a", async (t) => {
    await must("cp", ["-a", tree, join(cluster.mnt, "copied")]);
    t.same(await tell(join(second, "copied")), all, "onto a mount, told by another");
    t.equal(await rules(join(second, "copied")), acls);
    await must("cp", ["-a", join(second, "copied"), at("back")]);
    t.same(await tell(at("back")), all, "and back");
    await must("cp", ["-a", join(second, "copied"), join(second, "again")]);
    t.same(await tell(join(cluster.mnt, "again")), all, "within a mount");
    await must("cp", ["-al", join(second, "copied"), join(second, "linked")]);
    t.equal(await sh("find copied -type f -links -2 | wc -l", { cwd: cluster.mnt }), "0\n", "hard links of everything");
  });

  await t.test("rsync", async (t) => {
    const rsync = (from: string, into: string, ...more: string[]) =>
      must("rsync", ["-aHAXS", "--delete", "--itemize-changes", ...more, `${from}/`, `${into}/`]);
    const [here, there] = [join(cluster.mnt, "synced"), join(second, "synced")];
    t.not(await rsync(tree, here), "");
    t.same(await tell(there), all, "told by another mount");
    t.equal(await rules(there), acls);
    t.equal(await rsync(tree, here), "", "the second time nothing is transferred");
    t.equal(await rsync(tree, there, "--checksum"), "", "nor by content, on another mount");
    // Content of equal size and time, names, modes, owners, lists, attributes, holes.
    await sh(
      `touch -r plain/odd time; printf changed | dd of=plain/odd bs=1 seek=2000000 conv=notrunc status=none; touch -r time plain/odd
       rm -r time plain/01* fifo; mv strange renamed; mkdir plain/017; chmod 4711 plain/020; chown 5:6 plain/021
       setfacl -b acl/file; setfattr -x user.empty plain/tiny; fallocate -p -o 0 -l 2M plain/holes`,
      { cwd: there },
    );
    t.notSame(await tell(here), all);
    t.match(await rsync(tree, here, "--checksum"), /deep\/d0\/odd[^]*plain\/tiny/);
    t.same(await tell(there), all, "what was changed is as before");
    t.equal(await rsync(tree, there, "--checksum"), "");
    // Written into the old file, and appended to it.
    await sh("printf more >> plain/odd; truncate -s 1000000 deep/d0/odd; truncate -s 100 plain/inline", { cwd: here });
    await must("rsync", ["-aHAX", "--inplace", "--checksum", `${tree}/`, `${there}/`]);
    t.same(await tell(here), all);
    await rsync(there, at("from"));
    t.same(await tell(at("from")), all, "and back");
  });

  await t.test("tar", async (t) => {
    // What tar itself leaves out (sockets, second names of pipes) it leaves out on a local folder too.
    const pack = (folder: string, archive: string) => sh(`${TAR} --sparse -cf ${archive} -C ${folder} .`);
    const unpack = (archive: string, folder: string) => sh(`mkdir ${folder}; ${TAR} -xpf ${archive} -C ${folder}`);
    await pack(tree, at("local.tar"));
    await unpack(at("local.tar"), at("unpacked"));
    const expected = await tell(at("unpacked"));
    t.ok(expected.length >= all.length - 1);
    await unpack(at("local.tar"), join(cluster.mnt, "unpacked"));
    t.same(await tell(join(second, "unpacked")), expected);
    await pack(join(second, "unpacked"), join(second, "mount.tar"));
    await unpack(join(cluster.mnt, "mount.tar"), join(cluster.mnt, "repacked"));
    t.same(await tell(join(second, "repacked")), expected, "mount, archive on a mount, another mount");
    t.equal(await rules(join(second, "repacked")), await rules(at("unpacked")));
  });
  await cluster.staysSmall(t);
});
