import { test } from "tap";
import { noHosts } from "../helpers/hosts.js";
import { partition } from "../helpers/partitions.js";

test(
  "two storage daemons that do not reach each other cost nobody an error or a byte",
  { skip: await noHosts() },
  (t) => partition(t, ["store1", "store2"]),
);
