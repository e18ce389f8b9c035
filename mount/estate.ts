import { z } from "zod";

/** What a mount process leaves to the one that takes its place when it dies, beside the descriptor of /dev/fuse. */
export const estateSchema = z.strictObject({
  /** How many processes have served this mount before. */
  generation: z.number(),
  kernel: z.strictObject({
    /** The mount point's canonical path. */
    folder: z.string(),
    /** The kernel's number of the mount. */
    id: z.number().optional(),
    agreed: z.strictObject({
      minor: z.number(),
      flags: z.number(),
      flags2: z.number(),
      maxReadahead: z.number(),
    }),
  }),
  session: z.strictObject({
    session: z.number(),
    volume: z.strictObject({
      volume: z.string(),
      chunkSize: z.number(),
      replicas: z.number(),
      minReplicas: z.number(),
    }),
  }),
  /** Open files of which locks were asked for. */
  locked: z.array(z.number()),
});

export type Estate = z.infer<typeof estateSchema>;

/** What is told to whoever keeps the estate. */
export type Bequest =
  | { readonly kernel: Estate["kernel"] }
  | { readonly session: Estate["session"] }
  | { readonly locked: number; readonly isLocked: boolean };

/** Whoever keeps what a mount process would leave. */
export interface Keeper {
  /** What this process takes over, with its descriptor of /dev/fuse; undefined: it is the first. */
  readonly estate: (Estate & { readonly fd: number }) | undefined;
  tell(bequest: Bequest): void;
  /** The descriptor on which the kernel asks. */
  keep(fd: number, kernel: Estate["kernel"]): void;
}
