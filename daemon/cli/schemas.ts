/** The shape of what commands print with `--json`. Sizes are in bytes, times in seconds since 1970, ages as named. */
import { z } from "zod";
import { cluster, member } from "./cluster-schema.js";
import { LEVELS } from "./doctor/finding.js";

const id = z.int().min(0).describe("unique for ever");
const bytes = z.int().min(0).describe("bytes");
const count = z.int().min(0);
const seconds = z.number().min(0).describe("seconds");
const time = z.number().describe("seconds since 1970");
const share = z.number().min(0).max(1);

const load = z.strictObject({
  cpu: share,
  memory: share,
  disk: share,
  writtenPerSecond: z.number().min(0),
  readPerSecond: z.number().min(0),
});

const node = z.strictObject({
  id,
  name: z.string(),
  address: z.string().describe("HOST:PORT where it serves chunks"),
  zone: z.string().describe("copies of a chunk go to different zones"),
  weight: z.number().describe("its share of new chunks"),
  state: z.enum(["JOINING", "UP", "SUSPECT", "DOWN", "DRAINING", "RETIRED"]),
  capacity: bytes,
  used: bytes,
  chunks: count,
  load: load.optional(),
  uuid: z.string(),
  unscrubbedSec: count.optional().describe("every chunk was read in full so many seconds ago, or later"),
  failing: z.string().optional().describe("what is wrong with its disk: it is read, and written no more"),
  copies: count.describe("copies of chunks that are recorded there; a node that is drained can be removed at 0"),
});

const session = z.strictObject({
  id,
  name: z.string(),
  connected: z.boolean(),
  openFiles: count,
  address: z.string().describe("HOST:PORT where it comes from; empty while it is not connected"),
  readOnly: z.boolean(),
  silentMs: z.int().describe("milliseconds since it was last heard of"),
});

const status = z.strictObject({
  volume: z.uuid(),
  phase: z.enum(["reconnect", "replay", "serve", "stopping"]),
  incarnation: count,
  chunkSize: bytes,
  replicas: count,
  minReplicas: count.describe("copies that must stand before a write is acknowledged"),
  inodes: count,
  bytes: bytes.describe("sum of the sizes of files"),
  chunks: count,
  pending: count.describe("copies that were assigned and not confirmed"),
  underReplicated: count.describe("chunks with fewer live copies than wanted"),
  garbage: count.describe("chunks that will be removed"),
  nodes: z.array(node),
  sessions: z.array(session),
  oldestPendingSec: count,
  unsynced: count.describe("chunks with a copy that is not on disk"),
  oldestUnsyncedSec: count,
  surplus: count.describe("chunks with more copies than wanted"),
  rebalance: z.boolean().describe("copies move to nodes that have less than their share"),
  recounting: count.describe("files and folders of which another number of copies is wanted, still to be looked at"),
  requestsPerSecond: z.number().min(0).describe("over the last ten seconds"),
  cleaning: z.boolean().describe("chunks that nothing names are removed"),
  backup: z
    .strictObject({
      copies: count.describe("storage nodes that have the latest snapshot of this life of the daemon; 0: none yet"),
      ageSec: count.describe("of that snapshot"),
      lagSec: count.describe("age of the oldest commit that only this daemon has"),
      problem: z.string().describe("why the latest try failed; empty: it did not"),
    })
    .optional()
    .describe("the metadata on storage nodes"),
});

const file = z.strictObject({
  path: z.string().describe("escaped: \\n, \\t, \\\\, \\xff"),
  type: z.enum(["file", "folder", "link", "fifo", "socket", "character device", "block device"]),
  target: z.string().optional().describe("of a link: where it leads, escaped"),
  ino: id,
  mode: z.string().regex(/^[0-7]{4}$/),
  uid: count,
  gid: count,
  links: count,
  size: bytes,
  stored: bytes.describe("bytes that are no holes"),
  atime: time,
  mtime: time,
  ctime: time,
  btime: time,
});

const replica = z.strictObject({
  node: id,
  name: z.string(),
  address: z.string(),
  zone: z.string(),
  nodeState: z.string(),
  state: z.enum(["pending", "available", "deleting", "unknown"]),
  synced: z.boolean().describe("on disk"),
});

const info = file.extend({
  replicas: count,
  minReplicas: count,
  slices: z.array(
    z.strictObject({
      from: bytes.describe("first byte of the file"),
      length: bytes,
      chunk: id.nullable().describe("null: the bytes stand in the metadata"),
      offset: bytes.describe("first byte of the chunk"),
    }),
  ),
  chunks: z.array(
    z.strictObject({
      chunk: id,
      length: bytes,
      crc32: z.string(),
      references: count,
      replicas: z.array(replica),
    }),
  ),
});

const sum = z.strictObject({ path: z.string(), folders: count, files: count, size: bytes, stored: bytes });
const done = z.strictObject({ path: z.string(), failures: count }).describe("one a line");
const copied = z.strictObject({ files: count, bytes, seconds, failed: z.boolean() });
const settings = z.strictObject({
  volume: z.uuid().optional(),
  "chunk-size": bytes.optional(),
  replicas: count.optional(),
  "min-replicas": count.optional(),
  cleaning: z.enum(["on", "off"]).optional(),
  rebalance: z.enum(["on", "off"]).optional().describe("whether copies move to nodes that have less than their share"),
});
const volume = z.strictObject({ volume: z.uuid(), chunkSize: bytes, replicas: count, minReplicas: count });
const backup = z.strictObject({ file: z.string(), volume: z.uuid(), rows: count, created: time, bytes });
const loadedVolume = z.strictObject({
  volume: z.uuid(),
  incarnation: count,
  rows: count,
  created: time.describe("of what was loaded, seconds since 1970"),
});
const restored = z.strictObject({
  volume: z.uuid(),
  incarnation: count,
  snapshot: z.string(),
  commits: count.describe("of the log after the snapshot"),
  moment: time.describe("when the last of it was written"),
  problems: z.array(z.string()).describe("what could not be read"),
});
const wrong = z.strictObject({
  check: z.string().describe("a fixed word"),
  what: z.string(),
  inos: z.array(id).describe("inodes that it is about, some if they are many"),
  paths: z.array(z.string()).describe("where they are, escaped"),
  chunk: id.optional(),
  node: id.optional().describe("whose copy of the chunk it is about"),
  plan: z.string().optional().describe("what --repair does about it"),
  refusal: z.string().optional().describe("why --repair does nothing about it, and what a person can do"),
});
const checked = z.strictObject({
  inodes: count,
  chunks: count,
  findings: z.array(wrong).describe("with --repair: what is left"),
  unchecked: z
    .array(z.strictObject({ node: id, name: z.string(), why: z.string() }))
    .describe("nodes that could not be asked for all that they have"),
  acts: z
    .array(wrong.extend({ outcome: z.string(), mended: z.boolean() }))
    .optional()
    .describe("with --repair: what was tried, in order"),
});
const cleaningCases = z.strictObject({
  cleaning: z.boolean().describe("false: none of it happens"),
  cases: z.array(
    z.strictObject({
      chunk: id,
      len: bytes,
      fate: z
        .enum(["remove", "removing", "wait", "mark"])
        .describe("now; its nodes have been told; not yet; its delay begins now"),
      why: z.string(),
    }),
  ),
});
const quarantined = z.strictObject({
  node: id,
  name: z.string(),
  address: z.string(),
  folder: z.string().optional().describe("where the files are, on the node's machine"),
  problem: z.string().optional().describe("why the node could not be asked; the listing is not whole then"),
  files: z.array(
    z.strictObject({
      file: z.string(),
      chunk: id.optional().describe("absent: it was no chunk's"),
      size: bytes.describe("of the file, header included"),
      reason: z.string().optional().describe("absent: an older build moved it"),
      since: time.optional().describe("when it was moved, seconds since 1970; absent likewise"),
    }),
  ),
});
const finding = z.strictObject({
  level: z.enum(LEVELS),
  check: z.string().describe("what was looked at, a fixed word"),
  what: z.string(),
  fix: z.string().optional().describe("the line that fixes it"),
});
const bundle = z.strictObject({ file: z.string(), contents: z.array(z.string()).describe("names of the files in it") });

const replicaCount = z.strictObject({
  path: z.string(),
  replicas: count.describe("copies that there shall be"),
  own: count.nullable().describe("the same; null: it goes by the volume's count"),
  minReplicas: count.describe("copies that must stand before a write is acknowledged"),
  changing: count.describe("files and folders, of the whole cluster, of which this was changed and not worked off"),
});

const milliseconds = z.number().min(0).describe("milliseconds of one call");
const bench = z.strictObject({
  folder: z.string(),
  options: z
    .strictObject({
      threads: count,
      bigSize: bytes,
      blockSize: bytes,
      randomOps: count,
      appends: count,
      smallFiles: count,
      smallSize: bytes,
    })
    .describe("for each thread"),
  results: z.array(
    z.strictObject({
      name: z.string(),
      rate: z.number(),
      unit: z.enum(["MiB/s", "op/s", "entry/s"]),
      amount: z.number().describe("what the rate counts, of all threads"),
      seconds,
      cache: z.enum(["all dropped", "file dropped", "warm"]).nullable().describe("how cold a read was"),
      calls: count,
      latencyMs: z.strictObject({
        mean: milliseconds,
        p50: milliseconds,
        p95: milliseconds,
        p99: milliseconds,
        max: milliseconds,
      }),
    }),
  ),
});

const mountpoint = z.string().describe("absolute path");

/** By command; those marked so print one such object a line. */
export const SCHEMAS = {
  up: cluster.extend({ started: z.array(z.string()).describe("names of those that did not run before, in order") }),
  down: z.strictObject({ stopped: z.array(member).describe("those that ran, in the order in which they ended") }),
  mount: z.strictObject({ mountpoint, pid: z.int().positive(), log: z.string().describe("its log file") }),
  umount: z.strictObject({ mountpoint }),
  status,
  "node ls": z.array(node),
  "node show": node,
  "node rename": node,
  "node set": node,
  "node scrub": node,
  "node drain": node,
  "node rm": z.strictObject({ node, lostChunks: count.describe("chunks in use that had their only copy there") }),
  "replicas set": replicaCount,
  "replicas show": replicaCount,
  "session ls": z.array(session),
  "session end": session,
  "config get": settings,
  "config set": settings,
  "volume create": volume,
  gc: cleaningCases,
  fsck: checked,
  "quarantine ls": z.array(quarantined),
  "meta dump": backup,
  "meta load": loadedVolume,
  "meta restore": restored,
  key: z.strictObject({ file: z.string() }),
  doctor: z.strictObject({ findings: z.array(finding) }),
  debug: bundle,
  ls: file.describe("one a line"),
  tree: file.describe("one a line"),
  stat: file.describe("one a line"),
  info: info.describe("one a line"),
  du: sum.describe("one a line"),
  mkdir: done,
  mv: done,
  rm: done,
  put: copied,
  get: copied,
  bench,
} as const;
