import type { FsckFinding } from "../../../proto/gen/bigfs/v1/meta.js";
import { FsError } from "../../../proto/errno.js";
import { pathOf, shownPath } from "../../../mount/files/path.js";
import { defineCommand } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { type ClusterAddress, clusterAddress } from "../shared-options.js";
import { askForParts } from "./ask.js";
import { printJson, withJson } from "./json.js";

type Shown = ReturnType<typeof shown>;

export const fsck = defineCommand({
  command: "fsck",
  describe: "check the metadata against itself and against what nodes have, and which files have lost chunks",
  builder: (yargs) =>
    withJson(yargs)
      .option("repair", { type: "boolean", default: false, describe: "do what is safe about it, and check again" })
      .option("dry-run", { type: "boolean", default: false, describe: "with --repair: only say what it would do" })
      .example("$0 fsck --data ./cluster", "while it serves; changes nothing")
      .example("$0 fsck --repair --dry-run --data ./cluster", "what repair would do, and what it would not")
      .epilogue(
        "Nodes that are away are not checked, and named. Repair removes no file and no last copy; what it does not do " +
          "it explains. Exit 0 when nothing is wrong (any more), 1 otherwise.",
      ),
  run: async (args) => {
    if (args.dryRun && !args.repair)
      throw new UsageError("--dry-run goes with --repair; without both nothing is changed");
    const print = args.json ? () => {} : printerOf(args.repair);
    const result = await checkAll(await clusterAddress(args), args.repair && !args.dryRun, print);
    const { inodes, chunks, findings, acts, unchecked } = result;
    if (args.json) printJson({ inodes, chunks, findings, unchecked, ...(args.repair ? { acts } : {}) });
    for (const { name, why } of unchecked) process.stderr.write(`bigfsd: ${name} is not checked: ${why}\n`);
    const wrong = findings.length === 0 ? "nothing" : findings.length;
    const repaired = acts.length === 0 ? "" : `${acts.filter(({ mended }) => mended === true).length} repaired, `;
    if (!args.json) process.stdout.write(`${inodes} inodes and ${chunks} chunks: ${repaired}${wrong} wrong\n`);
    return findings.length > 0 ? EXIT.failed : EXIT.done;
  },
});

/** What the last check has found, and what was done before. */
async function checkAll(address: ClusterAddress, repair: boolean, print: (finding: Shown) => void) {
  const acts: Shown[] = [];
  let findings: Shown[] = [];
  let round = 0;
  for await (const part of askForParts(address, { $case: "fsck", value: { repair } })) {
    if (part.$case !== "fsck") throw new FsError("EPROTO", `${address.meta} answered something else`);
    const { last, inodes, chunks, unchecked } = part.value;
    // A beat that only says that the daemon is at work is of no check.
    if (part.value.findings.length > 0 || last) {
      if (part.value.round !== undefined && part.value.round !== round) findings = [];
      round = part.value.round ?? 0;
    }
    for (const finding of part.value.findings.map(shown)) {
      print(finding);
      (finding.outcome === undefined ? findings : acts).push(finding);
    }
    if (last) return { inodes, chunks, unchecked, findings, acts };
  }
  throw new FsError("EPROTO", `${address.meta} did not end its answer`);
}

/** Prints each finding once, however often it is found, and what came of each act. */
function printerOf(isRepair: boolean): (finding: Shown) => void {
  const told = new Set<string>();
  return ({ check, what, paths, plan, refusal, outcome }) => {
    const head = `${check}: ${what}`;
    if (outcome !== undefined) {
      process.stdout.write(`  ${head}: ${outcome}\n`);
      return;
    }
    if (told.has(head)) return;
    told.add(head);
    const advice = plan === undefined ? [`not repaired: ${refusal ?? ""}`] : [`repair: ${plan}`];
    process.stdout.write(`${[head, ...paths, ...(isRepair ? advice : [])].join("\n  ")}\n`);
  };
}

function shown({ paths, chunk, ...rest }: FsckFinding) {
  const named = paths.filter((path) => path.length > 0).map((path) => shownPath(pathOf(path)));
  return { ...rest, paths: named, ...(chunk === 0 ? {} : { chunk }) };
}
