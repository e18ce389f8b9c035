import type { ClientOptions } from "./client.js";
import type { Driver } from "./driver.js";
import type { Keeper } from "./estate.js";

export interface MountOptions extends Omit<
  ClientOptions,
  "name" | "permissions" | "registry" | "inherits" | "onSession" | "onLocked"
> {
  readonly mountpoint: string;
  /** Default: the own one, and fuse-native with a warning where that cannot be loaded. */
  readonly driver?: Driver;
  /** Other users of this machine may enter. */
  readonly allowOther: boolean;
  /** Starts another process when this one dies, to take over the mount; of the own driver alone. */
  readonly keeper?: Keeper;
  /** [HOST:]PORT for /metrics and /healthz. */
  readonly http?: string;
}
