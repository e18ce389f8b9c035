/**
 * Names of files in quarantine. What is known of one stands in its name, so that it is there, after a crash too, as soon
 * as the file is: NAME.NONCE.SECONDS.REASON, with the reason's bytes escaped as in a URL and "_" for a space. Older
 * builds wrote NAME.NONCE.
 */

export interface Aside {
  /** Its name before, or the beginning of that. */
  readonly name: string;
  /** Hex digits that keep two files of one name apart. */
  readonly nonce: string;
  /** Seconds since 1970 when it was moved; undefined: an older build did it. */
  readonly since: number | undefined;
  /** Why; the beginning of that when it was long. Undefined as above. */
  readonly reason: string | undefined;
}

/** What filesystems take, and how much of it the name before may have. */
const NAME_MAX = 255;
const BEFORE_MAX = 80;

export function asideName({ name, nonce, since, reason }: Aside & { since: number; reason: string }): string {
  const before = cut([...name], BEFORE_MAX);
  const head = `${before}.${nonce}.${since}.`;
  return head + cut([...Buffer.from(reason)].map(escaped), NAME_MAX - Buffer.byteLength(head));
}

/** undefined: nothing that was moved here. */
export function parseAsideName(text: string): Aside | undefined {
  const [, name, nonce, since, reason] = /^(.+?)\.([0-9a-f]{8})(?:\.(\d+)\.([^./]*))?$/s.exec(text) ?? [];
  if (name === undefined || nonce === undefined) return undefined;
  if (since === undefined || reason === undefined) return { name, nonce, since: undefined, reason: undefined };
  return { name, nonce, since: Number(since), reason: unescaped(reason) };
}

/** As many of the pieces as fit into so many bytes. */
function cut(pieces: readonly string[], bytes: number): string {
  let text = "";
  let left = bytes;
  for (const piece of pieces) {
    left -= Buffer.byteLength(piece);
    if (left < 0) break;
    text += piece;
  }
  return text;
}

function escaped(byte: number): string {
  const char = String.fromCharCode(byte);
  if (char === " ") return "_";
  return /[A-Za-z0-9:,;()='-]/.test(char) ? char : `%${byte.toString(16).padStart(2, "0")}`;
}

function unescaped(text: string): string {
  const bytes = text
    .replaceAll("_", " ")
    .replaceAll(/%([0-9a-f]{2})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)));
  return Buffer.from(bytes, "latin1").toString();
}
