/** `npm run sim`: simulates seeds, and prints those that fail with what led to it. */
import { parseArgs } from "node:util";
import { simulate, type Outcome } from "./simulation.js";

const USAGE = `usage: npm run sim -- [--seed N | --seeds FROM..TO] [--steps N] [--faults KIND,...] [--logs] [--trace LINES] [--twice] [--first]

  --seed N          one seed
  --seeds FROM..TO  all of these (default 1..20)
  --steps N         what programs do in each (default 120)
  --faults KINDS    only these kinds of faults, "none" for none (default: chosen by the seed)
  --logs            what the daemons log is part of the trace
  --trace LINES     so much of the trace of a failing seed (default 60)
  --first           stops at the first seed that fails, and prints it in one line
  --twice           each seed twice: the traces must be the same

exit code 1: a seed failed`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seed: { type: "string" },
      seeds: { type: "string", default: "1..20" },
      steps: { type: "string", default: "120" },
      faults: { type: "string" },
      logs: { type: "boolean", default: false },
      trace: { type: "string", default: "60" },
      first: { type: "boolean", default: false },
      twice: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const [from = 1, to = from] = (values.seed ?? values.seeds).split("..").map(Number);
  const opts = {
    steps: Number(values.steps),
    logs: values.logs,
    lines: Number(values.trace),
    ...(values.faults === undefined ? {} : { faults: values.faults.split(",") }),
  };
  let failed = 0;
  let events = 0;
  for (let seed = from; seed <= to; seed++) {
    const outcome = await simulate({ seed, ...opts });
    events += outcome.events;
    const other = values.twice ? await simulate({ seed, ...opts }) : outcome;
    if (other.hash !== outcome.hash) {
      failed++;
      console.log(`seed ${seed} gives two traces: ${outcome.hash} and ${other.hash}`);
    }
    if (outcome.violations.length > 0) failed++;
    if (values.first) {
      if (failed === 0) continue;
      console.log(`seed ${seed}: ${outcome.violations[0]?.slice(0, 100) ?? "two traces"}`);
      return 1;
    }
    if (outcome.violations.length > 0 || from === to) print(outcome, Number(values.trace));
  }
  console.log(`seeds ${from} to ${to}: ${failed} failed; ${events} events`);
  return failed === 0 ? 0 : 1;
}

function print({ seed, hash, events, simulatedMs, violations, trace }: Outcome, lines: number): void {
  if (lines > 0) console.log(trace.slice(-lines).join("\n"));
  const seconds = (simulatedMs / 1000).toFixed(0);
  console.log(`seed ${seed}: trace ${hash}, ${events} events in ${seconds} simulated seconds`);
  for (const violation of violations) console.log(`  ${violation}`);
}

process.exitCode = await main();
