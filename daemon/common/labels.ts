/** Characters of the name of a node and of a zone. */
const CHARS_MAX = 255;

/** Why this text cannot be the zone of a node or a client; undefined: it can. */
export function zoneProblem(text: string): string | undefined {
  const isOne = text.length > 0 && text.length <= CHARS_MAX && !/[\s\p{C}]/u.test(text);
  return isOne ? undefined : `give 1 to ${CHARS_MAX} characters, no blanks`;
}

/** Why this text cannot be the name of a node; undefined: it can. */
export function nameProblem(text: string): string | undefined {
  // Commands take an id or a name.
  return /^\d+$/.test(text) ? "a number is the id of a node: give a name that is none" : zoneProblem(text);
}
