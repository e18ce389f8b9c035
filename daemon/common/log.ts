import { destination, pino, stdTimeFunctions, type Logger } from "pino";

export type { Logger };

/** JSON records on stderr, one a line; written at once, so that none is lost when the process dies. */
export function createLog(name: string, level = "info"): Logger {
  const options = { name, level, timestamp: stdTimeFunctions.isoTime, base: { pid: process.pid } };
  return pino(options, destination({ fd: 2, sync: true }));
}
