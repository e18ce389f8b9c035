import type { SessionInfo } from "../../../proto/gen/bigfs/v1/meta.js";
import { FsError } from "../../../proto/errno.js";
import { defineCommand, groupOf } from "../command.js";
import { EXIT } from "../exit.js";
import { clusterAddress } from "../shared-options.js";
import { table } from "../table.js";
import { ask, fetchStatus } from "./ask.js";
import { printJson, withJson } from "./json.js";

const ls = defineCommand({
  command: "ls",
  describe: "list them",
  builder: (yargs) =>
    withJson(yargs).example("$0 session ls --data ./cluster", "mounts and commands, and where they run"),
  run: async (args) => {
    const { sessions } = await fetchStatus(await clusterAddress(args));
    if (args.json) printJson(sessions);
    else {
      const head = ["ID", "NAME", "ADDRESS", "STATE", "OPEN FILES", "HEARD"];
      process.stdout.write(`${table([head, ...sessions.map(columns)])}\n`);
    }
    return EXIT.done;
  },
});

const end = defineCommand({
  command: "end <session>",
  describe: "end one, as if it had been cut off for too long",
  builder: (yargs) =>
    withJson(
      yargs.positional("session", { type: "string", demandOption: true, describe: "its id or its name" }),
    ).example(
      "$0 session end host7:/mnt --data ./cluster",
      "a mount that hangs and holds others up; what it had not stored is lost, and it is told so",
    ),
  run: async (args) => {
    const address = await clusterAddress(args);
    const { sessions } = await fetchStatus(address);
    const wanted = sessions.filter(({ id, name }) => `${id}` === args.session || name === args.session);
    if (wanted.length === 0) throw new FsError("ENOENT", `there is no session '${args.session}'; see 'session ls'`);
    const [one, ...others] = wanted;
    if (one === undefined || others.length > 0)
      throw new FsError("EINVAL", `${wanted.length} sessions have the name '${args.session}': give the id of one`);
    await ask(address, { $case: "endSession", value: { session: one.id } });
    if (args.json) printJson(one);
    return EXIT.done;
  },
});

export const session = groupOf(
  "session",
  "mounts and other clients",
  [ls, end],
  ["$0 session ls --data ./cluster", "mounts and commands, and where they run"],
);

function columns({ id, name, address, connected, readOnly, openFiles, silentMs }: SessionInfo): string[] {
  const state = `${connected ? "connected" : "away"}${readOnly ? ", read-only" : ""}`;
  return [`${id}`, name, address || "-", state, `${openFiles}`, `${(silentMs / 1000).toFixed(1)} s ago`];
}
