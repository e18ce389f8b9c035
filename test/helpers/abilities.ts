import type { Driver } from "../../mount/driver.js";

/** What of the README's table of drivers tests have to know. Each is held true by test/posix/readme-table. */
export interface Abilities {
  /** Row "names, ...": any bytes, or UTF-8 alone. */
  readonly names: "bytes" | "UTF-8";
  /** Row "times": digits after the second that are kept. */
  readonly timeDigits: 9 | 3;
  /** Row "mtime or atime alone": whether one is set without the other, as tar does. */
  readonly oneTime: boolean;
}

export const ABILITIES: Readonly<Record<Driver, Abilities>> = {
  own: { names: "bytes", timeDigits: 9, oneTime: true },
  "fuse-native": { names: "UTF-8", timeDigits: 3, oneTime: false },
};
