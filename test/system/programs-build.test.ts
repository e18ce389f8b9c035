import { join } from "node:path";
import { test } from "tap";
import { TestCluster } from "../helpers/cluster.js";
import { packageRoot } from "../helpers/package-root.js";
import { must, sh } from "../helpers/run.js";

/** The source of SQLite that comes with the package sqlite3: 300,000 lines of C, with configure. */
const SOURCE = join(packageRoot, "node_modules/sqlite3/deps/sqlite-autoconf-*.tar.gz");

test("configure and make -j2 build a C project on a mount as on a local folder", async (t) => {
  const cluster = await TestCluster.start(t);
  const second = await cluster.mountAgain("second");
  const local = join(cluster.dir, "local");
  await must("mkdir", [local]);
  const folders = [local, cluster.mnt];
  // Without the name of the folder, which the compiler would write down.
  const build = `export CFLAGS="-O0 -g0 -ffile-prefix-map=$PWD/=" SOURCE_DATE_EPOCH=1700000000
    cd source; ./configure --disable-readline >/dev/null; make -s -j2 >/dev/null; make | tail -n 1`;
  await Promise.all(folders.map((cwd) => sh(`mkdir source; tar xf ${SOURCE} --strip-components=1 -C source`, { cwd })));
  const said = await Promise.all(folders.map((cwd) => sh(build, { cwd })));
  t.match(said[1], /Nothing to be done|up to date/, "make knows by the times that all is built");
  t.equal(said[1], said[0]);
  const sums = (cwd: string) =>
    sh("sha256sum sqlite3 sqlite3.o libsqlite3.so sqlite_cfg.h", { cwd: join(cwd, "source") });
  t.equal(await sums(second), await sums(local), "byte for byte, seen by another mount");
  const ask = `./sqlite3 new.db 'create table t(v); insert into t values (42); select v, sqlite_version() from t'`;
  t.match(await sh(ask, { cwd: join(second, "source") }), /^42\|3\./, "and it runs");

  await sh("touch shell.c", { cwd: join(second, "source") });
  const again = await sh("make", { cwd: join(cluster.mnt, "source") });
  t.match(again, /-o sqlite3 /, "what another mount touched is made again");
  t.notMatch(again, /-o sqlite3\.o|ar cr/, "and nothing else");
});
