import type { Caller, FileSystem } from "../../vfs/filesystem.js";
import type { OpenTable } from "../open-table.js";
import type { Paths } from "../paths.js";

/** What the operations work with. */
export interface Context {
  readonly fs: FileSystem;
  /** Who has mounted: who asks is not known. */
  readonly who: Caller;
  readonly paths: Paths;
  readonly table: OpenTable;
  /** Others than `who` may ask, and what they make belongs to `who`: such files get no set-id bits. */
  readonly allowOther: boolean;
}
