import { test } from "tap";
import { STORES, storm } from "../helpers/storm.js";

test("2 copies, 1 before a write is told: stores are killed in turn, nobody sees an error or a wrong byte (D28)", (t) =>
  storm(t, { copies: 2, min: 1, names: STORES }));
