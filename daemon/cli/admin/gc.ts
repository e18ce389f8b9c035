import type { CleaningCase } from "../../../proto/gen/bigfs/v1/meta.js";
import { FsError } from "../../../proto/errno.js";
import { formatSize } from "../../common/sizes.js";
import { defineCommand } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { clusterAddress } from "../shared-options.js";
import { askForParts, fetchStatus } from "./ask.js";
import { printJson, withJson } from "./json.js";

export const gc = defineCommand({
  command: "gc",
  describe: "what cleaning would do now with chunks that nothing names, and why",
  builder: (yargs) =>
    withJson(yargs)
      .option("dry-run", { type: "boolean", default: false, describe: "required: cleaning itself runs by itself" })
      .example("$0 gc --dry-run --data ./cluster", "chunk, size, what becomes of it, why"),
  run: async (args) => {
    if (!args.dryRun)
      throw new UsageError("cleaning runs by itself, every cleanMs; give --dry-run to see what it would do");
    const address = await clusterAddress(args);
    const { cleaning } = await fetchStatus(address);
    const cases: CleaningCase[] = [];
    const sums = new Map<string, { chunks: number; bytes: number }>();
    for await (const part of askForParts(address, { $case: "explainCleaning", value: {} })) {
      if (part.$case !== "explainCleaning") throw new FsError("EPROTO", `${address.meta} answered something else`);
      for (const one of part.value.cases) {
        const { chunks, bytes } = sums.get(one.fate) ?? { chunks: 0, bytes: 0 };
        sums.set(one.fate, { chunks: chunks + 1, bytes: bytes + one.len });
        if (args.json) cases.push(one);
        else process.stdout.write(`${one.chunk}  ${formatSize(one.len)}  ${one.fate}  ${one.why}\n`);
      }
      if (part.value.last) break;
    }
    if (args.json) printJson({ cleaning, cases });
    else {
      for (const [fate, { chunks, bytes }] of sums)
        process.stdout.write(`${fate}: ${chunks} chunks, ${formatSize(bytes)}\n`);
      if (sums.size === 0) process.stdout.write("nothing\n");
      if (!cleaning)
        process.stdout.write("cleaning is off: none of it happens until 'bigfsd config set cleaning on'\n");
    }
    return EXIT.done;
  },
});
