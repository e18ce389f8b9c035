/**
 * Lines of the shell as words: separated by blanks; '...' and "..." keep blanks, and so does a backslash before one. Any
 * other backslash stays, for it begins an escape of a name (\n, \xff).
 */

/** Characters that a word cannot hold as they are. */
const SPECIAL = /[\s'"]/gu;

/** Throws RangeError for a quote that does not end. */
export function wordsOf(line: string): string[] {
  const { words, open } = split(line);
  if (open !== "") throw new RangeError(`a ${open} has no end`);
  return words;
}

/** What stands before the cursor: the words, and the one that is being written, which may be empty. */
export function unfinished(line: string): { readonly before: readonly string[]; readonly last: string } {
  const { words, isBetween } = split(line);
  return isBetween ? { before: words, last: "" } : { before: words.slice(0, -1), last: words.at(-1) ?? "" };
}

/** The word as it can be typed. */
export function typed(word: string): string {
  return word.replace(SPECIAL, (char) => `\\${char}`);
}

function split(line: string): { words: string[]; open: string; isBetween: boolean } {
  const words: string[] = [];
  let word: string | undefined;
  let open = "";
  for (let i = 0; i < line.length; i++) {
    const char = line[i] ?? "";
    const next = line[i + 1] ?? "";
    if (char === open) open = "";
    else if (open !== "") word = (word ?? "") + char;
    else if (char === "'" || char === '"') {
      open = char;
      word ??= "";
    } else if (char === "\\" && next.search(SPECIAL) === 0) {
      word = (word ?? "") + next;
      i++;
    } else if (/\s/u.test(char)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else word = (word ?? "") + char;
  }
  if (word !== undefined) words.push(word);
  return { words, open, isBetween: word === undefined };
}
