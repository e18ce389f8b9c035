import { readdir } from "node:fs/promises";
import { join } from "node:path";
import root, { test } from "tap";
import { DRIVERS } from "../../mount/driver.js";
import { TestCluster } from "../helpers/cluster.js";
import { packageRoot } from "../helpers/package-root.js";
import { must, sh } from "../helpers/run.js";
import { shared } from "../helpers/shared.js";

for (const driver of DRIVERS) {
  const started = shared(() => TestCluster.start(root, ["--driver", driver]));

  test(`git clones, checks, commits and packs on a mount by ${driver}`, async (t) => {
    const cluster = await started();
    const repo = join(cluster.mnt, "repo");
    // All of it once; with the other driver it is about the calls.
    const depth = driver === "own" ? [packageRoot] : ["--depth", "1", `file://${packageRoot}`];
    await must("git", ["clone", "-q", ...depth, repo]);
    await sh(
      `git fsck --strict
     echo more >> README.md && git add -A && git -c user.email=a@b -c user.name=a commit -qm change
     git gc -q && git fsck --strict`,
      { cwd: repo },
    );
    t.equal(await sh("git status --porcelain", { cwd: repo }), "");
    t.equal(await sh("git log -1 --format=%s", { cwd: repo }), "change\n");
  });

  test(`SQLite keeps a database on a mount by ${driver}`, async (t) => {
    const cluster = await started();
    const script = `
    import sqlite3
    db = sqlite3.connect("test.db")
    db.execute("create table t(id integer primary key, v text)")
    for n in range(50):
        with db: db.executemany("insert into t(v) values (?)", [(str(n) * 100,)] * 20)
    with db: db.execute("delete from t where id % 3 = 0")
    db.execute("vacuum")
    print(db.execute("select count(*) from t").fetchone()[0], db.execute("pragma integrity_check").fetchone()[0])`;
    const dedented = script.replaceAll("\n    ", "\n");
    t.equal(await must("python3", ["-c", dedented], { cwd: cluster.mnt }), "667 ok\n");
  });

  test(`npm ci installs a package with its dependencies on a mount by ${driver}`, async (t) => {
    const cluster = await started();
    const project = join(cluster.mnt, "project");
    await sh(
      `mkdir project && cd project && printf '{"name":"p","version":"1.0.0","dependencies":{"yargs":"17.7.2"}}' > package.json
       npm install --package-lock-only --no-audit --no-fund --silent && npm ci --no-audit --no-fund --silent`,
      { cwd: cluster.mnt },
    );
    const program = "console.log(require('yargs')(['--answer', '42']).parse().answer)";
    t.equal(await must("node", ["-e", program], { cwd: project }), "42\n");
    t.ok((await readdir(join(project, "node_modules"))).length > 10, "its dependencies are there");
    await cluster.staysSmall(t);
  });
}
