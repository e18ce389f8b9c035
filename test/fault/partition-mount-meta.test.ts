import { test } from "tap";
import { noHosts } from "../helpers/hosts.js";
import { partition } from "../helpers/partitions.js";

test(
  "a mount that does not reach the metadata daemon ends with errors, others go on, nothing fsynced is lost",
  { skip: await noHosts() },
  (t) => partition(t, ["near", "meta"], "near"),
);
