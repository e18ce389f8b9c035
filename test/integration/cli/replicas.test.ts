import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "tap";
import { explainFile } from "../../../daemon/cli/admin/ask.js";
import { SCHEMAS } from "../../../daemon/cli/schemas.js";
import { ReplicaState } from "../../../proto/gen/bigfs/v1/rows.js";
import { until } from "../../helpers/until.js";
import { KEY } from "../client/lab.js";
import { place, shell } from "./place.js";

test("folders have counts of their own: of what is made in them, and of what is there already", async (t) => {
  const at = await place(t);
  const { run, lab } = at;
  const local = join(at.dir, "large");
  const data = Buffer.alloc(900_000, "bytes");
  await writeFile(local, data);
  const typed = async (...lines: string[]) => {
    const done = await shell(at, lines);
    t.equal(done.code, 0, done.stderr);
    return done.stdout;
  };
  const inoOf = async (path: string) =>
    SCHEMAS.stat.parse(JSON.parse((await run(["stat", "--json", path])).stdout)).ino;
  /** Copies of each chunk of the file, in one number when all have as many. */
  const copiesOf = async (ino: number): Promise<number | number[]> => {
    const { chunks } = await explainFile({ meta: lab.meta.listen, key: KEY }, ino);
    const counts = chunks.map(({ replicas }) => replicas.filter((c) => c.state === ReplicaState.AVAILABLE).length);
    const [first = 0] = counts;
    return counts.every((count) => count === first) ? first : counts;
  };
  const copies = async (path: string) => copiesOf(await inoOf(path));
  const become = async (path: string, count: number) => {
    const ino = await inoOf(path);
    await until(async () => (await copiesOf(ino)) === count);
  };

  await typed("mkdir -p /three/below /one", `put ${local} /one/before`);
  const set = await run(["replicas", "set", "3", "/three", "--json"]);
  t.equal(set.code, 0, set.stderr);
  const shown = SCHEMAS["replicas set"].parse(JSON.parse(set.stdout));
  t.match(shown, { path: "/three", replicas: 3, own: 3, minReplicas: 2 });
  await typed(`put ${local} /three/below/file`, `put ${local} /plain`);
  await become("/three/below/file", 3);
  t.equal(await copies("/plain"), 2);
  const below = await run(["replicas", "show", "/three/below", "--json"]);
  t.match(SCHEMAS["replicas show"].parse(JSON.parse(below.stdout)), { own: 3, changing: 0 });

  t.equal(await copies("/one/before"), 2);
  t.match(await run(["replicas", "set", "1", "/one"]), {
    code: 0,
    stdout: /^of a write +1 before it is acknowledged$/m,
  });
  await typed(`put ${local} /one/after`);
  t.equal(await copies("/one/after"), 1, "no second copy is made to be removed");
  await become("/one/before", 1);
  await typed("mv /one/after /three");
  t.match((await run(["replicas", "show", "/three/after"])).stdout, /^copies +1$/m, "a rename changes nothing");
  t.match(JSON.parse((await run(["info", "--json", "/three/after"])).stdout), { replicas: 1, minReplicas: 1 });
  t.match(await run(["replicas", "set", "default", "/one"]), {
    code: 0,
    stdout: /^copies +2, as many as the volume$/m,
  });
  await become("/one/before", 2);
  for (const path of ["/one/before", "/three/below/file", "/three/after"])
    t.ok(Buffer.from((await run(["cat", path])).stdout).equals(data), path);

  t.match(await run(["replicas", "set", "4", "/three"]), {
    code: 0,
    stderr: /warning: 3 of 3 .* too few for 4 copies/,
  });
  t.match(await run(["node", "drain", "1"]), { code: 1, stderr: /2 nodes would be left for [34] copies/ });
  for (const count of ["0", "17", "-1", "many", "2.5"])
    t.match(await run(["replicas", "set", count, "/three"]), { code: 2, stderr: /give a whole number from 1 to 16/ });
  t.match(await run(["replicas", "set", "2", "/nowhere"]), { code: 1, stderr: /does not exist \(ENOENT\)/ });
  t.match(await run(["replicas", "show", "/nowhere/below"]), { code: 1, stderr: /does not exist \(ENOENT\)/ });
});
