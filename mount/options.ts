import type { ClientOptions } from "./client.js";

export interface MountOptions extends Omit<ClientOptions, "name" | "permissions" | "registry"> {
  readonly mountpoint: string;
  /** Other users of this machine may enter. */
  readonly allowOther: boolean;
  /** [HOST:]PORT for /metrics and /healthz. */
  readonly http?: string;
}
