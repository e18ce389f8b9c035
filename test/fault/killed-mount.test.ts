import { test } from "tap";
import { around, killMounts, syncLater } from "../helpers/killed-mount.js";

test("a mount that is killed at any step of storing a file leaves what was fsynced, and nothing else", (t) =>
  killMounts(t, ["before put@6", "after put@6", ...around("commit", 8), ...around("fsync", 2)], async (work, turn) => {
    await work.manifest.write(work.folder, 100_000);
    await syncLater(work, turn);
  }));
