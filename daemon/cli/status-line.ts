/** How far something is, on standard error: on a terminal one line that is written over, otherwise a line each time. */
let isShown = false;

/** Whether a line can be written over. */
export function hasStatusLine(): boolean {
  return process.stderr.isTTY && process.env["TERM"] !== "dumb";
}

/** Shows it instead of the one before, as much of it as there is room for. */
export function showStatus(text: string): void {
  if (!hasStatusLine()) {
    process.stderr.write(`${text}\n`);
    return;
  }
  isShown = true;
  process.stderr.write(`\r\x1b[K${text.slice(0, process.stderr.columns - 1)}`);
}

/** Makes room for other lines. */
export function clearStatus(): void {
  if (isShown) process.stderr.write("\r\x1b[K");
  isShown = false;
}
