import type { FileExplained, StatusReply } from "../../../proto/gen/bigfs/v1/meta.js";
import { type ChunkRow, ReplicaState, type Slice } from "../../../proto/gen/bigfs/v1/rows.js";
import { explainFile, fetchStatus } from "../admin/ask.js";
import { table } from "../table.js";
import { JSON_OPTION, filesCommand, forEachPath } from "./job.js";
import { attributeRows, describeNode } from "./lines.js";

const STATES: Readonly<Record<number, string>> = {
  [ReplicaState.PENDING]: "pending",
  [ReplicaState.AVAILABLE]: "available",
  [ReplicaState.DELETING]: "deleting",
};

export const info = filesCommand({
  command: "info <paths..>",
  describe: "where the bytes of files of the cluster are",
  examples: [["info /big.iso", "its slices, their chunks, and the copies of each"]],
  builder: (yargs) =>
    yargs
      .positional("paths", { type: "string", array: true, demandOption: true, describe: "files" })
      .option("json", JSON_OPTION),
  run: (job, args) =>
    forEachPath(job, args.paths, async (at) => {
      const { cluster, files } = job;
      const shown = await files.withTarget(await files.stat(at, { follow: false }));
      const [status, explained] = await Promise.all([fetchStatus(cluster), explainFile(cluster, shown.ino)]);
      const found = describeFile(explained, status);
      if (args.json) {
        process.stdout.write(`${JSON.stringify({ ...describeNode(at, shown), ...found })}\n`);
        return;
      }
      const rows = [
        ...attributeRows(at, shown),
        ["copies", `${found.replicas} wanted, ${found.minReplicas} before a write is acknowledged`],
      ];
      process.stdout.write(`${table(rows)}\n${[...linesOf(found)].join("")}`);
    }),
});

/** For `--json`: positions and lengths in bytes; `chunk` null: the bytes stand in the metadata. */
function describeFile({ attr, slots, chunks }: FileExplained, status: StatusReply) {
  const slices = slots.flatMap(({ slot, slices: own }) =>
    own.map((slice) => describeSlice(slot * status.chunkSize + slice.pos, slice)),
  );
  const copies = chunks.map((chunk) => describeChunk(chunk, status));
  const replicas = attr?.replicas || status.replicas;
  return { replicas, minReplicas: Math.min(status.minReplicas, replicas), slices, chunks: copies };
}

function describeSlice(from: number, { len, chunk, off }: Slice) {
  return { from, length: len, chunk: chunk === 0 ? null : chunk, offset: off };
}

function describeChunk({ id, len, crc, refs, replicas }: ChunkRow, { nodes }: StatusReply) {
  const copies = replicas.map(({ node, state, synced }) => {
    const known = nodes.find((one) => one.id === node);
    return {
      node,
      name: known?.name ?? "",
      address: known?.address ?? "",
      zone: known?.zone ?? "",
      nodeState: known?.state ?? "unknown",
      state: STATES[state] ?? "unknown",
      synced,
    };
  });
  return { chunk: id, length: len, crc32: crc.toString(16).padStart(8, "0"), references: refs, replicas: copies };
}

function* linesOf({ slices, chunks }: ReturnType<typeof describeFile>): Generator<string> {
  const shown = new Set<number>();
  for (const { from, length, chunk, offset } of slices) {
    const where = chunk === null ? "in the metadata" : `chunk ${chunk}, from byte ${offset}`;
    yield `bytes ${from} to ${from + length - 1}: ${where}\n`;
    const row = chunk === null || shown.has(chunk) ? undefined : chunks.find((one) => one.chunk === chunk);
    if (row === undefined) continue;
    shown.add(row.chunk);
    yield `  ${row.length} bytes, crc32 ${row.crc32}\n`;
    for (const { name, address, zone, nodeState, state, synced } of row.replicas)
      yield `  ${name} (${address}, zone ${zone}, ${nodeState}): ${state}, ${synced ? "synced" : "not synced yet"}\n`;
  }
}
