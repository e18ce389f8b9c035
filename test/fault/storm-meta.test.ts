import { test } from "tap";
import { storm } from "../helpers/storm.js";

test("the metadata daemon is killed again and again under load, and nobody sees an error or a wrong byte", (t) =>
  storm(t, { copies: 2, min: 2, names: ["meta"] }));
