import type { ClientOptions } from "./client.js";
import type { Driver } from "./driver.js";

export interface MountOptions extends Omit<ClientOptions, "name" | "permissions" | "registry"> {
  readonly mountpoint: string;
  /** Default: the own one, and fuse-native with a warning where that cannot be loaded. */
  readonly driver?: Driver;
  /** Other users of this machine may enter. */
  readonly allowOther: boolean;
  /** [HOST:]PORT for /metrics and /healthz. */
  readonly http?: string;
}
