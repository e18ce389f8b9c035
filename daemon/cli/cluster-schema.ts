import { z } from "zod";

/** A process of a one-machine cluster. */
export const member = z.strictObject({
  role: z.enum(["meta", "store", "mount"]),
  name: z.string(),
  pid: z.number().int().positive(),
  /** Start time from /proc: with the pid it names one process for good. */
  started: z.string(),
  /** HOST:PORT; of a mount: its mount point. */
  listen: z.string(),
  data: z.string(),
});

/** cluster.json */
export const cluster = z.strictObject({
  volume: z.string(),
  meta: z.string(),
  processes: z.array(member),
});

export type Member = z.infer<typeof member>;
export type ClusterFile = z.infer<typeof cluster>;
