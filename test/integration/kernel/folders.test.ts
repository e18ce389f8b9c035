import { execFile } from "node:child_process";
import * as fs from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { test } from "tap";
import { ownMount } from "../../helpers/mount-process.js";

const run = promisify(execFile);

async function fill(folder: string, count: number): Promise<string[]> {
  const names = Array.from({ length: count }, (_, i) => `entry-${i}-${"x".repeat(i % 60)}`);
  for (let i = 0; i < count; i += 100) {
    await Promise.all(names.slice(i, i + 100).map((name) => fs.writeFile(join(folder, name), "")));
  }
  return names;
}

for (const later of [false, true]) {
  test(`a folder of 5,000 entries is listed whole, ${later ? "with late answers" : "with answers at once"}`, async (t) => {
    const [mnt] = await ownMount(t, { later });
    const names = await fill(mnt, 5000);
    t.same((await fs.readdir(mnt)).sort(), [...names].sort());
    const { stdout } = await run("ls", ["-lU", mnt], { maxBuffer: 1 << 22 });
    t.equal(stdout.split("\n").filter((line) => line.startsWith("-")).length, 5000);
  });
}

test("a listing can be rewound and gone on with from any place, while entries come and go", async (t) => {
  const [mnt] = await ownMount(t);
  await fill(mnt, 3000);
  const script = `
    my ($dir) = @ARGV; opendir(my $d, $dir) or die; my (@names, @at);
    while (1) { my $p = telldir($d); my $n = readdir($d); last unless defined $n; push @at, $p; push @names, $n; }
    print scalar(@names), "\\n";
    for my $i (2999, 1500, 1, 700, 0) { seekdir($d, $at[$i]); my $n = readdir($d); print $n eq $names[$i] ? "same\\n" : "other\\n"; }
    seekdir($d, $at[1000]);
    unlink "$dir/$names[$_]" for (500..600, 1000, 2000..2100); open(my $f, ">", "$dir/new"); close $f;
    my %seen; while (defined(my $n = readdir($d))) { $seen{$n}++; }
    print join(" ", scalar(grep { $seen{$_} } @names[1001..1999, 2101..3001]), scalar(grep { $_ > 1 } values %seen), $seen{new} // 0), "\\n";
    rewinddir($d); my @again; while (defined(my $n = readdir($d))) { push @again, $n; } print scalar(@again), "\\n";`;
  const { stdout } = await run("perl", ["-e", script, mnt]);
  t.same(stdout.trim().split("\n"), ["3002", "same", "same", "same", "same", "same", "1900 0 1", "2800"]);
});

test("each entry tells its type and inode, also the dots", async (t) => {
  const [mnt] = await ownMount(t);
  await fs.mkdir(join(mnt, "sub"));
  await fs.writeFile(join(mnt, "sub/file"), "");
  await fs.symlink("file", join(mnt, "sub/link"));
  const { stdout } = await run("ls", ["-aif1", join(mnt, "sub")]);
  const inode = async (name: string) => (await fs.lstat(join(mnt, "sub", name))).ino;
  const expected = await Promise.all([".", "..", "file", "link"].map(async (name) => `${await inode(name)} ${name}`));
  t.same(
    stdout
      .trim()
      .split("\n")
      .map((line) => line.trim())
      .sort(),
    expected.sort(),
  );
  const types = await fs.readdir(join(mnt, "sub"), { withFileTypes: true });
  t.same(Object.fromEntries(types.map((e) => [e.name, e.isFile() ? "f" : "l"])), { file: "f", link: "l" });
});

test("the kernel's references are counted exactly, whatever gave them", async (t) => {
  const [mnt, server] = await ownMount(t, { attrMs: 60_000, entryMs: 60_000 });
  const at = (name: string) => join(mnt, name);
  await fs.mkdir(at("many"));
  await fill(at("many"), 700);
  await run("ls", ["-laR", mnt]);
  await run("ls", ["-la", at("many")]);
  await fs.mkdir(at("sub"));
  await fs.symlink("a", at("sub/link"));
  await fs.link(at("many/entry-0-"), at("sub/second"));
  await run("mkfifo", [at("sub/fifo")]);
  await run("ls", ["-la", at("sub")]);
  await fs.rm(at("many"), { recursive: true });
  await fs.rm(at("sub"), { recursive: true });
  const gone = async () => {
    const { nodes, references, handles } = await server.ask("census", {});
    return nodes === 1 && references === 0 && handles === 0;
  };
  // Forgets come when the kernel gets to them; a request in between moves it on.
  while (!(await gone())) await fs.stat(at("nothing")).catch(() => undefined);
  t.ok(await gone());
});
