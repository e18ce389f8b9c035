import { test } from "tap";
import { STORES, storm } from "../helpers/storm.js";

test("3 copies, 2 before a write is told: stores are killed in turn, nobody sees an error or a wrong byte (D28)", (t) =>
  storm(t, { copies: 3, min: 2, names: STORES }));
