import { randomBytes, randomInt, randomUUID } from "node:crypto";

/** Chance as a parameter. */
export interface Random {
  /** 0 <= x < 1. */
  fraction(): number;
  uuid(): string;
  /** So many bytes, as hex digits. */
  hex(bytes: number): string;
}

/** The machine's chance. */
export const systemRandom: Random = {
  fraction: () => randomInt(2 ** 32) / 2 ** 32,
  uuid: randomUUID,
  hex: (bytes) => randomBytes(bytes).toString("hex"),
};
