/** A thread of the benchmark: does one workload after the other as it is told, and answers with what it measured. */
import { randomFillSync } from "node:crypto";
import { parentPort, workerData } from "node:worker_threads";
import { systemClock } from "../../common/clock.js";
import { fileBuffer } from "../../common/file-buffer.js";
import { FsError } from "../../../proto/errno.js";
import { Control, Meter, Stopped } from "./meter.js";
import type { Answer, Task, ThreadData } from "./crew.js";
import { WORKLOADS } from "./workloads.js";

const { shared, blockSize } = workerData as ThreadData;
const control = new Control(shared);
const block = randomFillSync(fileBuffer(blockSize));

parentPort?.on("message", (task: Task) => parentPort?.postMessage(answer(task)));

function answer({ name, dir, scale }: Task): Answer {
  const workload = WORKLOADS.find((one) => one.name === name);
  if (workload === undefined) throw new RangeError(`there is no workload ${name}`);
  const meter = new Meter(systemClock, control, workload.calls(scale));
  try {
    workload.run({ dir, scale, meter, block });
    return { measured: meter.measured() };
  } catch (error) {
    // The others need not go on.
    control.stop();
    if (error instanceof Stopped) return {};
    if (error instanceof FsError) return { failure: { code: error.errno, message: error.detail } };
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    return { failure: { code, message } };
  }
}
