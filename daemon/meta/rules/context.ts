import type { Cred } from "../../../proto/gen/bigfs/v1/meta.js";
import type { Time } from "../../../proto/gen/bigfs/v1/rows.js";
import { fail } from "../../../proto/errno.js";

/** What a rule may know besides the rows. Fixed when the operation arrives and kept over re-runs and replays. */
export interface Context {
  readonly who: Cred;
  readonly now: Time;
  /** The client has told it as made at that time: what comes later may have been carried out before. */
  readonly isTold?: boolean;
  /** 0: the daemon itself. */
  readonly session: number;
  readonly readOnly: boolean;
  /** The next inode id; the same ones, in the same order, when the rule is run again. */
  freshIno(): number;
  /** Whether any session has this inode open. */
  isOpen(ino: number): boolean;
  /** Whether copies on this node count as present. */
  isLive(node: number): boolean;
  readonly volume: { readonly chunkSize: number; readonly replicas: number; readonly minReplicas: number };
}

/** EROFS for a session that may only read. */
export function mustBeWritable(ctx: Context): void {
  if (ctx.readOnly) fail("EROFS");
}
