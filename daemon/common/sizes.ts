const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] as const;

/** Bytes of "64MiB", "1.5 GiB", "10M", "4096". Units are powers of 1024. Throws RangeError. */
export function parseSize(text: string): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([KMGTP]?)(?:iB|B)?\s*$/i.exec(text);
  const power = " KMGTP".indexOf((match?.[2] ?? "").toUpperCase() || " ");
  const bytes = Math.round(Number(match?.[1]) * 1024 ** power);
  if (match === null || !Number.isSafeInteger(bytes)) throw new RangeError("give a size such as 512KiB, 64MiB or 2GiB");
  return bytes;
}

/** "1.5 GiB"; for people. */
export function formatSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  const text = unit === 0 || value >= 100 ? value.toFixed(0) : value.toFixed(1).replace(/\.0$/, "");
  return `${text} ${UNITS[unit] ?? ""}`;
}
