import { printableLine } from "../../mount/files/path.js";

/** Columns side by side, left-aligned, two spaces between them; each row is one line of a terminal. */
export function table(cells: readonly (readonly string[])[]): string {
  const rows = cells.map((row) => row.map(printableLine));
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)));
  return rows
    .map((row) => {
      const line = row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0))).join("  ");
      return row.at(-1) === "" ? line.trimEnd() : line;
    })
    .join("\n");
}
