/**
 * What of a log may leave the machine. Names of users' files can be in what an operation was asked, in what an error
 * says, and in whatever somebody logs tomorrow; so only fields that are known to hold none stay.
 */

const LEFT_OUT = "(left out)";

/** Texts that say nothing of files; numbers and booleans always stay. */
const KEPT: ReadonlySet<string> = new Set([
  ...["time", "name", "msg", "part", "op", "operation", "errno", "task", "kind", "from", "to", "why", "push"],
  ...["listen", "http", "peer", "address", "meta", "volume", "mountpoint"],
]);

/** A log, line by line; what is no record stays when it is a line of a stack. */
export function scrubLog(text: string): string {
  return text.replace(/[^\n]+/g, scrubLine);
}

function scrubLine(line: string): string {
  let record: unknown;
  try {
    record = JSON.parse(line);
  } catch {
    return isFrame(line) ? line : LEFT_OUT;
  }
  return isObject(record) ? JSON.stringify(scrubRecord(record)) : LEFT_OUT;
}

function scrubRecord(record: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(record).map(([field, value]) => {
      if (field === "err" && isObject(value)) return [field, scrubError(value)];
      return [field, isHarmless(value) || (KEPT.has(field) && typeof value === "string") ? value : LEFT_OUT];
    }),
  );
}

/** What the system or a start says is about our own files and ports. */
function scrubError(error: Record<string, unknown>): Record<string, unknown> {
  const { type, message, stack, code, errno, syscall } = error;
  const isOurs = type === "StartupError" || typeof syscall === "string";
  const frames = typeof stack === "string" ? stack.split("\n").filter(isFrame).join("\n") : "";
  return { type, code, errno, syscall, message: isOurs ? message : LEFT_OUT, stack: frames };
}

function isFrame(line: string): boolean {
  return /^ +at [^\n]*$/.test(line);
}

function isHarmless(value: unknown): boolean {
  return typeof value === "number" || typeof value === "boolean" || value === null;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
