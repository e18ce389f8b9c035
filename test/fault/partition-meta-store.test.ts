import { test } from "tap";
import { noHosts } from "../helpers/hosts.js";
import { partition } from "../helpers/partitions.js";

test(
  "a storage daemon and the metadata daemon that do not reach each other cost nobody an error or a byte",
  { skip: await noHosts() },
  (t) => partition(t, ["store1", "meta"]),
);
