import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { must } from "./run.js";

/** Bytes of the file that is written. */
export const SIZE = 12 * 1024 * 1024;

/** Writes each block of a file once, anywhere and with O_SYNC, then reads all that was not refused; how often it was. */
export async function verified(folder: string): Promise<number> {
  const args = [
    ...["--name=verified", `--directory=${folder}`, "--rw=randwrite", "--bs=16k-64k", `--size=${SIZE}`, "--sync=1"],
    ...["--ioengine=psync", "--fallocate=none", "--verify=crc32c", "--do_verify=1", "--verify_fatal=1"],
    ...["--verify_state_save=0", "--continue_on_error=write", "--output-format=json"],
  ];
  const said = await must("fio", args, { cwd: dirname(folder) });
  const { jobs } = JSON.parse(said.slice(said.indexOf("{"))) as { jobs: { total_err: number }[] };
  return jobs.reduce((sum, { total_err }) => sum + total_err, 0);
}

/** Resolves when so many bytes of fio's file are stored; rejects when fio, of which this is the outcome, is over before. */
export async function written(folder: string, bytes: number, fio: Promise<unknown>): Promise<void> {
  const path = join(folder, "verified.0.0");
  let isOver = false;
  const over = fio
    .then(() => Promise.reject(new Error(`fio is over, and has not stored ${bytes} bytes`)))
    .finally(() => {
      isOver = true;
    });
  const look = async (): Promise<void> => {
    while (!isOver && ((await stat(path).catch(() => undefined))?.blocks ?? 0) * 512 < bytes)
      await new Promise((resolve) => setImmediate(resolve));
  };
  await Promise.race([look(), over]);
}
