import { createReadStream } from "node:fs";
import { open, rm, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { FsError } from "../../../proto/errno.js";
import type { BackupNode } from "../../meta/backup/backup-node.js";
import { systemClock } from "../../common/clock.js";
import { DEADLINES } from "../../common/deadlines.js";
import { renameDurably } from "../../common/durable.js";
import { StartupError } from "../../common/running.js";
import { defineCommand } from "../command.js";
import { EXIT, OptionError, UsageError, explain } from "../exit.js";
import { type ClusterAddress, addressOption, clusterAddress, clusterKey } from "../shared-options.js";
import { askForParts } from "./ask.js";
import { printJson, withJson } from "./json.js";

export const dump = defineCommand({
  command: "dump [file]",
  describe: "write all metadata of one moment into a file, while the daemon serves",
  builder: (yargs) =>
    withJson(yargs.positional("file", { type: "string", describe: "a new file; without it, standard output" }))
      .example("$0 meta dump backup.bigfs --data ./cluster", "checked as it is read back; names and places, no data")
      .example("$0 meta dump --data ./cluster | ssh host 'cat > backup.bigfs'", "to another machine"),
  run: async (args) => {
    const address = await clusterAddress(args);
    if (args.file === undefined) {
      if (args.json || process.stdout.isTTY) throw new UsageError("name a file, or send the output to one");
      for await (const bytes of dumped(address)) await written(bytes);
      return EXIT.done;
    }
    const file = resolve(args.file);
    if (await isThere(file)) throw new StartupError(`${file} exists already`, { hint: "name a new file" });
    const made = await dumpInto(file, address);
    if (args.json) printJson(made);
    return EXIT.done;
  },
});

export const load = defineCommand({
  command: "load <file>",
  describe: "make the metadata of a new data folder from a dump; no daemon serves it then",
  builder: (yargs) =>
    yargs
      .positional("file", {
        type: "string",
        demandOption: true,
        describe: "what 'bigfsd meta dump' wrote",
      })
      .option("data", { type: "string", demandOption: true, describe: "folder of the metadata, new or empty" })
      .option("incarnation", {
        type: "number",
        describe: "number of this life of the volume, higher than any before [default: one more than the dump's]",
      })
      .option("json", { type: "boolean", default: false, describe: "for programs" })
      .example("$0 meta load backup.bigfs --data /srv/bigfs/meta2", "then start 'bigfsd meta' on that folder")
      .epilogue(
        "No chunk is removed afterwards until 'bigfsd config set cleaning on'. A dump that was loaded before, and served, " +
          "needs an --incarnation above that one ('bigfsd status --json' shows it).",
      ),
  run: async (args) => {
    const { incarnation } = args;
    if (incarnation !== undefined && !Number.isInteger(incarnation))
      throw new OptionError("incarnation", incarnation, "give a whole number");
    const { loadDump } = await import("../../meta/backup/load.js");
    const bytes = (await open(args.file)).createReadStream({ highWaterMark: 2 ** 20 });
    const { volume, rows, created } = await loadDump({ name: args.file, bytes, incarnation }, resolve(args.data));
    if (args.json) printJson({ volume: volume.uuid, incarnation: volume.incarnation, rows, created });
    else process.stdout.write(`${rows} rows of ${new Date(created * 1000).toISOString()}; cleaning is off\n`);
    return EXIT.done;
  },
});

export const restore = defineCommand({
  command: "restore",
  describe: "rebuild the metadata in a new data folder from what the storage nodes keep",
  builder: (yargs) =>
    yargs
      .option("from", {
        type: "string",
        array: true,
        demandOption: true,
        describe:
          "addresses of storage daemons, HOST:PORT, which need no metadata daemon for that; the more the better",
      })
      .option("data", { type: "string", demandOption: true, describe: "folder of the metadata, new or empty" })
      .option("key", { type: "string", describe: "file with the cluster key [env BIGFS_KEY]" })
      .option("json", { type: "boolean", default: false, describe: "for programs" })
      .example(
        "$0 meta restore --from 10.0.0.2:50051,10.0.0.3:50051 --data /srv/bigfs/meta2 --key cluster.key",
        "then start 'bigfsd meta' on that folder",
      )
      .epilogue("No chunk is removed afterwards until 'bigfsd config set cleaning on'."),
  run: async (args) => {
    const addresses = args.from.flatMap((list) => list.split(",")).filter(Boolean);
    for (const address of addresses) addressOption("from", address);
    const sources = await sourcesAt(addresses, await clusterKey(args.key, undefined));
    try {
      const { restoreFrom } = await import("../../meta/backup/restore.js");
      const { volume, ...found } = await restoreFrom(sources, resolve(args.data));
      for (const problem of found.problems) process.stderr.write(`bigfsd: ${problem}\n`);
      if (args.json) printJson({ volume: volume.uuid, incarnation: volume.incarnation, ...found });
      else {
        const moment = new Date(found.moment * 1000).toISOString();
        process.stdout.write(`as of ${moment}: a snapshot and ${found.commits} commits after it; cleaning is off\n`);
      }
      return EXIT.done;
    } finally {
      for (const source of sources) source.close();
    }
  },
});

/** Those that answer. StartupError when none does, or they are not of one volume. */
async function sourcesAt(addresses: readonly string[], key: Buffer): Promise<BackupNode[]> {
  const { BackupNode } = await import("../../meta/backup/backup-node.js");
  const { connectMs, chunkMs } = DEADLINES;
  const sources: BackupNode[] = [];
  for (const address of addresses) {
    try {
      sources.push(await BackupNode.connect(address, { key, connectMs, answerMs: chunkMs, clock: systemClock }));
    } catch (error) {
      process.stderr.write(`bigfsd: ${explain(error)}\n`);
    }
  }
  const volumes = new Set(sources.map(({ volume }) => volume));
  if (volumes.size === 1) return sources;
  for (const source of sources) source.close();
  const what =
    volumes.size === 0 ? "no storage daemon answers" : `these are of different volumes: ${[...volumes].join(", ")}`;
  throw new StartupError(what, { hint: "name storage daemons of one volume that run, with --from HOST:PORT,..." });
}

async function* dumped(address: ClusterAddress): AsyncGenerator<Buffer> {
  for await (const part of askForParts(address, { $case: "dump", value: {} })) {
    if (part.$case !== "dump") throw new FsError("EPROTO", `${address.meta} answered something else`);
    if (part.value.last) return;
    yield part.value.data;
  }
}

/** The file has its name when it was read back whole. */
async function dumpInto(file: string, address: ClusterAddress) {
  const temp = `${file}.tmp`;
  try {
    const handle = await open(temp, "w", 0o600);
    try {
      for await (const bytes of dumped(address)) await handle.writeFile(bytes);
    } finally {
      await handle.close();
    }
    const { openBackup, rowsOf } = await import("../../meta/backup/dump.js");
    const backup = await openBackup(createReadStream(temp));
    let rows = 0;
    for await (const block of rowsOf(backup)) rows += block.length;
    await renameDurably(temp, file);
    const { volume, created } = backup.header;
    return { file, volume: volume.uuid, rows, created: created?.sec ?? 0, bytes: (await stat(file)).size };
  } catch (error) {
    await rm(temp, { force: true });
    throw error;
  }
}

function written(bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(bytes, (error) => (error ? reject(error) : resolve()));
  });
}

function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
