import { test } from "tap";
import { judgeDisk, judgeSharing, percentiles, type DiskFacts } from "../../../../daemon/cli/doctor/disk.js";

const GOOD: DiskFacts = {
  folder: "/srv/disk1",
  filesystem: undefined,
  rotates: false,
  freeBytes: 2 ** 39,
  totalBytes: 2 ** 40,
  sync: { write: { p50: 0.01, p99: 0.02 }, sync: { p50: 0.8, p99: 3 } },
  error: undefined,
};

const found = (facts: Partial<DiskFacts>) => judgeDisk({ ...GOOD, ...facts }).filter(({ level }) => level !== "ok");
const syncOf = (write: number, sync: number, p99 = sync) => ({
  sync: { write: { p50: write, p99: write }, sync: { p50: sync, p99 } },
});

test("a disk with room and an honest fsync has nothing to fix", async (t) => {
  t.same(found({}), []);
  t.match(judgeDisk(GOOD), [{ check: "disk-space" }, { check: "disk-sync", what: /0.80 ms \(1 in 100: 3.00 ms\)/ }]);
});

test("an fsync that takes no longer than none is suspicious, on any device", async (t) => {
  for (const rotates of [true, false, undefined]) {
    t.match(found({ rotates, ...syncOf(0.01, 0.012) }), [{ level: "warning", check: "disk-sync", fix: /hdparm -W 0/ }]);
  }
});

test("a disk that says it turns and answers sooner than it can is told of", async (t) => {
  t.match(found({ rotates: true, ...syncOf(0.01, 0.4) }), [{ level: "note", check: "disk-sync", fix: /hdparm/ }]);
  t.same(found({ rotates: true, ...syncOf(0.01, 8) }), []);
  t.same(found({ rotates: undefined, ...syncOf(0.01, 0.4) }), []);
});

test("a slow fsync is a warning, also when only one in a hundred is", async (t) => {
  t.match(found(syncOf(0.01, 80)), [{ level: "warning", check: "disk-latency" }]);
  t.match(found(syncOf(0.01, 5, 900)), [{ level: "warning", check: "disk-latency", what: /1 in 100: 900 ms/ }]);
});

test("a disk without room is a warning, one that takes nothing more an error", async (t) => {
  t.match(found({ freeBytes: 2 ** 35 }), [{ level: "warning", check: "disk-space", fix: /df -h \/srv\/disk1/ }]);
  t.match(found({ freeBytes: 2 ** 26 }), [{ level: "error", check: "disk-space" }]);
});

test("memory and remote filesystems are no disks", async (t) => {
  t.match(found({ filesystem: "tmpfs", ...syncOf(0.01, 0.01) }), [{ level: "warning", check: "disk-kind" }]);
  t.match(found({ filesystem: "nfs" }), [{ level: "warning", check: "disk-kind", what: /on nfs/ }]);
});

test("a folder that cannot be written is an error", async (t) => {
  t.match(found({ sync: undefined, error: { code: "EROFS", message: "EROFS: read-only" } }), [
    { level: "error", check: "disk-sync", what: /EROFS/ },
  ]);
  const fixOf = (code: string) => found({ sync: undefined, error: { code, message: code } })[0]?.fix;
  t.match(fixOf("EROFS"), /remount,rw/);
  t.match(fixOf("ENOSPC"), /df -i \/srv\/disk1/);
  t.match(fixOf("EACCES"), /ls -ld/);
});

test("percentiles are of the nearest rank", async (t) => {
  t.same(percentiles([5]), { p50: 5, p99: 5 });
  t.same(percentiles([3, 1, 2]), { p50: 2, p99: 3 });
  t.same(percentiles(Array.from({ length: 200 }, (_, i) => 200 - i)), { p50: 100, p99: 198 });
});

test("folders that share a disk are noted", async (t) => {
  t.same(judgeSharing(["/a"]), []);
  t.match(judgeSharing(["/a", "/b"]), [{ level: "note", check: "disk-shared", what: /^\/a, \/b are on one disk/ }]);
});
