import { test } from "tap";
import { parseMountinfo, parseMountOutput } from "../../../../mount/kernel/mountinfo.js";

test("mountinfo lines are read with escapes, UTF-8 paths and optional fields", (t) => {
  const path = Buffer.from("/mnt/ü").toString("latin1");
  const text = [
    "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw",
    `42 22 0:39 / ${path}\\040b\\134c rw,nosuid shared:7 master:2 - fuse.bigfs bigfs rw,user_id=0`,
    "43 22 0:40 / /mnt/x ro - fuse.bigfs bigfs rw",
    "garbage",
    "",
  ].join("\n");
  t.same(parseMountinfo(text), [
    { id: 22, path: "/", type: "ext4", readOnly: false },
    { id: 42, path: "/mnt/ü b\\c", type: "fuse.bigfs", readOnly: false },
    { id: 43, path: "/mnt/x", type: "fuse.bigfs", readOnly: true },
  ]);
  t.end();
});

test("what mount(8) prints on macOS and the BSDs is read, with blanks and parentheses in paths", (t) => {
  const text = [
    "/dev/disk1s1 on / (apfs, local, journaled)",
    "bigfs on /Volumes/a on b (x) (osxfuse, nodev, nosuid, read-only, mounted by me)",
    "map auto_home on /home (autofs)",
    "garbage",
    "",
  ].join("\n");
  t.same(parseMountOutput(text), [
    { id: 0, path: "/", type: "apfs", readOnly: false },
    { id: 0, path: "/Volumes/a on b (x)", type: "fuse.bigfs", readOnly: true },
    { id: 0, path: "/home", type: "autofs", readOnly: false },
  ]);
  t.end();
});
