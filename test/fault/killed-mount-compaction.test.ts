import { test } from "tap";
import { around, killMounts, pieces } from "../helpers/killed-mount.js";

test("a mount that is killed while it puts the pieces of a slot together leaves every byte as it was", (t) =>
  killMounts(t, around("compact", 1), pieces));
