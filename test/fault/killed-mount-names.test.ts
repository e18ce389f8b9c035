import { test } from "tap";
import { around, cut, killMounts, replace } from "../helpers/killed-mount.js";

test("a mount that is killed in a rename or a truncation leaves the old file or the new one, whole", (t) =>
  killMounts(t, [...around("rename", 3), ...around("setattr", 3)], async (work, turn) => {
    await replace(work, turn);
    await cut(work, turn);
  }));
