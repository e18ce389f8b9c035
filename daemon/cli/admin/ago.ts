const UNITS = [
  ["days", 86_400],
  ["hours", 3_600],
  ["minutes", 60],
] as const;

/** How long ago something was, in words. */
export function ago(seconds: number): string {
  const [unit, each] = UNITS.find(([, each]) => seconds >= 2 * each) ?? ["s", 1];
  return `${Math.floor(seconds / each)} ${unit} ago`;
}
