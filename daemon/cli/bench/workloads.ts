/**
 * What the benchmark does, one entry for each row of its table. `run` is executed by each thread in a folder of its own;
 * it calls the filesystem synchronously, so that a latency is the time of the call and nothing else's. The rows build on
 * one another: the first write makes the files that are read later.
 */
import { fsyncSync, mkdirSync, readdirSync, renameSync, rmdirSync, statSync, unlinkSync } from "node:fs";
import { fail } from "../../../proto/errno.js";
import { RANDOM_SIZE, inBlocks, randomPlaces, readAll, withFile, writeAll } from "./calls.js";
import type { Meter } from "./meter.js";
import type { Scale } from "./scale.js";

/** Where and how much one thread works. */
export interface Job {
  readonly dir: string;
  readonly scale: Scale;
  readonly meter: Meter;
  /** Random bytes, as many as the largest single write or read. */
  readonly block: Buffer;
}

export type Unit = "MiB/s" | "op/s" | "entry/s";

export interface Workload {
  readonly name: string;
  readonly title: string;
  readonly group: "large" | "small";
  readonly unit: Unit;
  /**
   * For what reads: `large` files, whose pages can be dropped one file at a time; `small` ones and names, for which all
   * caches have to be dropped; `again`, what was just read.
   */
  readonly reads?: "large" | "small" | "again";
  /** How much one thread does, in what the unit counts (MiB, operations, entries). */
  readonly amount: (scale: Scale) => number;
  /** How many calls one thread times. */
  readonly calls: (scale: Scale) => number;
  readonly run: (job: Job) => void;
}

/** Small files are spread over folders of that many. */
const FOLDER_FILES = 100;

export const largeFile = (dir: string): string => `${dir}/large`;

const folders = ({ smallFiles }: Scale): number => Math.ceil(smallFiles / FOLDER_FILES);
const folder = (dir: string, index: number): string => `${dir}/files-${index}`;
const file = (dir: string, index: number, kind = "file"): string =>
  `${folder(dir, Math.floor(index / FOLDER_FILES))}/${kind}-${index}`;

const mib = ({ bigSize }: Scale): number => bigSize / 2 ** 20;
const blocks = ({ bigSize, blockSize }: Scale): number => Math.ceil(bigSize / blockSize);
const randoms = ({ randomOps }: Scale): number => randomOps;
const appends = (scale: Scale): number => scale.appends;
const files = ({ smallFiles }: Scale): number => smallFiles;
/** And one for the fsync at the end. */
const andSync =
  (calls: (scale: Scale) => number) =>
  (scale: Scale): number =>
    calls(scale) + 1;

const perFile = { group: "small", unit: "op/s", amount: files, calls: files } as const;

export const WORKLOADS: readonly Workload[] = [
  {
    name: "large-write",
    title: "write, fsync at the end",
    group: "large",
    unit: "MiB/s",
    amount: mib,
    calls: andSync(blocks),
    run: ({ dir, scale, meter, block }) =>
      withFile(largeFile(dir), "wx", (fd) => {
        for (let at = 0; at < scale.bigSize; at += scale.blockSize) {
          meter.time(() => writeAll(fd, block, Math.min(scale.blockSize, scale.bigSize - at)));
        }
        meter.time(() => fsyncSync(fd));
      }),
  },
  {
    name: "large-read",
    title: "read",
    group: "large",
    unit: "MiB/s",
    reads: "large",
    amount: mib,
    calls: blocks,
    run: readLarge,
  },
  {
    name: "large-read-again",
    title: "read again",
    group: "large",
    unit: "MiB/s",
    reads: "again",
    amount: mib,
    calls: blocks,
    run: readLarge,
  },
  {
    name: "random-read",
    title: "random read 4 KiB",
    group: "large",
    unit: "op/s",
    reads: "large",
    amount: randoms,
    calls: randoms,
    run: ({ dir, scale, meter, block }) =>
      withFile(largeFile(dir), "r", (fd) => {
        for (const at of randomPlaces(scale)) meter.time(() => readAll(fd, block, RANDOM_SIZE, at));
      }),
  },
  {
    name: "random-write",
    title: "random write 4 KiB, fsync at the end",
    group: "large",
    unit: "op/s",
    amount: randoms,
    calls: andSync(randoms),
    run: ({ dir, scale, meter, block }) =>
      withFile(largeFile(dir), "r+", (fd) => {
        for (const at of randomPlaces(scale)) meter.time(() => writeAll(fd, block, RANDOM_SIZE, at));
        meter.time(() => fsyncSync(fd));
      }),
  },
  {
    name: "append",
    title: "append 4 KiB, fsync each",
    group: "large",
    unit: "op/s",
    amount: appends,
    calls: appends,
    run: ({ dir, scale, meter, block }) =>
      withFile(`${dir}/log`, "ax", (fd) => {
        for (let i = 0; i < scale.appends; i++) {
          meter.time(() => {
            writeAll(fd, block, RANDOM_SIZE);
            fsyncSync(fd);
          });
        }
      }),
  },
  {
    name: "mkdir",
    title: "mkdir",
    ...perFile,
    run: ({ dir, scale, meter }) => times(scale.smallFiles, (i) => meter.time(() => mkdirSync(`${dir}/folder-${i}`))),
  },
  {
    name: "create",
    title: "create and write",
    ...perFile,
    run: ({ dir, scale, meter, block }) => {
      times(folders(scale), (i) => mkdirSync(folder(dir, i)));
      times(scale.smallFiles, (i) =>
        meter.time(() => withFile(file(dir, i), "wx", (fd) => inBlocks(scale, (size) => writeAll(fd, block, size)))),
      );
    },
  },
  {
    name: "stat",
    title: "stat",
    ...perFile,
    reads: "small",
    run: ({ dir, scale, meter }) => times(scale.smallFiles, (i) => meter.time(() => statSync(file(dir, i)))),
  },
  {
    name: "read",
    title: "open and read",
    ...perFile,
    reads: "small",
    run: ({ dir, scale, meter, block }) =>
      times(scale.smallFiles, (i) =>
        meter.time(() => withFile(file(dir, i), "r", (fd) => inBlocks(scale, (size) => readAll(fd, block, size)))),
      ),
  },
  {
    name: "list",
    title: "list, 100 in a folder",
    ...perFile,
    unit: "entry/s",
    reads: "small",
    calls: folders,
    run: ({ dir, scale, meter }) => {
      let found = 0;
      times(folders(scale), (i) => (found += meter.time(() => readdirSync(folder(dir, i)).length)));
      if (found !== scale.smallFiles) fail("EIO", `${found} of ${scale.smallFiles} files were listed`);
    },
  },
  {
    name: "rename",
    title: "rename",
    ...perFile,
    run: ({ dir, scale, meter }) =>
      times(scale.smallFiles, (i) => meter.time(() => renameSync(file(dir, i), file(dir, i, "renamed")))),
  },
  {
    name: "unlink",
    title: "unlink",
    ...perFile,
    run: ({ dir, scale, meter }) =>
      times(scale.smallFiles, (i) => meter.time(() => unlinkSync(file(dir, i, "renamed")))),
  },
  {
    name: "rmdir",
    title: "rmdir",
    ...perFile,
    run: ({ dir, scale, meter }) => times(scale.smallFiles, (i) => meter.time(() => rmdirSync(`${dir}/folder-${i}`))),
  },
];

/** What is done at this scale: a size or number of 0 leaves its part out. */
export function workloadsOf(scale: Scale): readonly Workload[] {
  return WORKLOADS.filter(({ group }) => (group === "large" ? scale.bigSize : scale.smallFiles) > 0);
}

function readLarge({ dir, scale, meter, block }: Job): void {
  withFile(largeFile(dir), "r", (fd) => {
    for (let at = 0; at < scale.bigSize; at += scale.blockSize) {
      meter.time(() => readAll(fd, block, Math.min(scale.blockSize, scale.bigSize - at)));
    }
  });
}

function times(count: number, work: (index: number) => void): void {
  for (let i = 0; i < count; i++) work(i);
}
