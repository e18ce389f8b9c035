import { StartupError } from "../daemon/common/running.js";

/** What binds a mount to the kernel. */
export const DRIVERS = ["own", "fuse-native"] as const;
export type Driver = (typeof DRIVERS)[number];

export interface Choice {
  readonly driver: Driver;
  /** For whoever did not ask for this one. */
  readonly warning: string | undefined;
}

/** Each throws a StartupError where its driver cannot be loaded. */
export type Loaders = Readonly<Record<Driver, () => unknown>>;

/** The wish, or undefined: the own one, and fuse-native where that cannot be loaded. StartupError: none can. */
export function chooseDriver(wish: Driver | undefined, load: Loaders): Choice {
  if (wish !== undefined) {
    load[wish]();
    return { driver: wish, warning: undefined };
  }
  try {
    load.own();
    return { driver: "own", warning: undefined };
  } catch (error) {
    if (!(error instanceof StartupError) || !canLoad(load["fuse-native"])) throw error;
    const warning = `${error.message}: mounting with fuse-native, which can do less (${error.hint})`;
    return { driver: "fuse-native", warning };
  }
}

function canLoad(load: () => unknown): boolean {
  try {
    load();
    return true;
  } catch {
    return false;
  }
}
