// Where a mistake in the expanded SQL is in the text as it was written.
export interface Position {
  line: number;
  column: number;
}

/**
 * The same line (macros and variables seldom have several), and there the word that stands at the place: as
 * often as it has come before in the expanded line.
 */
export function place(written: string, expanded: string, { line, column }: Position): Position {
  const theirs = expanded.split('\n');
  const ours = written.split('\n');
  if (theirs.length !== ours.length || theirs[line - 1] === ours[line - 1]) {
    return { line: Math.min(line, ours.length), column };
  }
  const found = theirs[line - 1].slice(column - 1);
  const word = /^\w+|^\S/.exec(found)?.[0];
  if (!word) {
    return { line, column: 1 };
  }
  const before = theirs[line - 1].slice(0, column - 1).split(word).length - 1;
  const at = nth(ours[line - 1], word, before);
  return { line, column: at < 0 ? 1 : at + 1 };
}

/** Where a word comes for the n-th time, from zero, or else the last time. */
function nth(text: string, word: string, n: number): number {
  let at = -1;
  for (let count = 0; count <= n; count++) {
    const next = text.indexOf(word, at + 1);
    if (next < 0) {
      return at;
    }
    at = next;
  }
  return at;
}
