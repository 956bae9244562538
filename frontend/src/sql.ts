// Where words, strings, comments and brackets of a GoogleSQL text are. It does not know what they mean.

export type Kind = 'space' | 'comment' | 'string' | 'quoted' | 'word' | 'number' | 'sign';

export interface Token {
  kind: Kind;
  text: string;
  at: number;
  /** How many brackets are open before it. */
  depth: number;
}

const PATTERNS: Array<[Kind, RegExp]> = [
  ['space', /\s+/y],
  ['comment', /(?:--|#)[^\n]*|\/\*[\s\S]*?(?:\*\/|$)/y],
  ['string', /(?:[rR][bB]?|[bB][rR]?)?(?:"""(?:\\[\s\S]|[^\\])*?(?:"""|$)|'''(?:\\[\s\S]|[^\\])*?(?:'''|$))/y],
  ['string', /(?:[rR][bB]?|[bB][rR]?)?(?:"(?:\\[\s\S]|[^"\\\n])*(?:"|(?=\n)|$)|'(?:\\[\s\S]|[^'\\\n])*(?:'|(?=\n)|$))/y],
  ['quoted', /`(?:\\[\s\S]|[^`\\])*(?:`|$)/y],
  ['word', /[$@]*[A-Za-z_]\w*/y],
  ['number', /\d[\w.]*/y],
  ['sign', /[\s\S]/y],
];

/** Every token of a text; their texts together are the text. */
export function tokens(sql: string): Token[] {
  const found: Token[] = [];
  let at = 0;
  let depth = 0;
  while (at < sql.length) {
    const [kind, text] = next(sql, at);
    if (text === ')' || text === ']') {
      depth = Math.max(0, depth - 1);
    }
    found.push({ kind, text, at, depth });
    if (text === '(' || text === '[') {
      depth += 1;
    }
    at += text.length;
  }
  return found;
}

function next(sql: string, at: number): [Kind, string] {
  for (const [kind, pattern] of PATTERNS) {
    pattern.lastIndex = at;
    const match = pattern.exec(sql);
    if (match && match[0]) {
      return [kind, match[0]];
    }
  }
  return ['sign', sql[at]];
}

/** The tokens that are code: without spaces and comments. */
export function code(sql: string): Token[] {
  return tokens(sql).filter((token) => token.kind !== 'space' && token.kind !== 'comment');
}

export function isWord(token: Token | undefined, ...words: string[]): boolean {
  return token?.kind === 'word' && words.includes(token.text.toUpperCase());
}

/** A text as a GoogleSQL literal. */
export function literal(text: string): string {
  const escaped = text
    .replace(/\\/g, '\\\\')
    .replace(/'/g, "\\'")
    .replace(/\n/g, '\\n')
    .replace(/\r/g, '\\r');
  return `'${escaped}'`;
}

/** A column, or a member of one, as it stands in SQL. */
export function path(name: string): string {
  return name
    .split('.')
    .map((part) => (/^[A-Za-z_]\w*$/.test(part) && !RESERVED.has(part.toUpperCase()) ? part : backticked(part)))
    .join('.');
}

/** A name in backticks, in which `\` and the backtick are escaped. */
export function backticked(name: string): string {
  return '`' + name.replace(/[\\`]/g, '\\$&') + '`';
}

/** Source: https://cloud.google.com/bigquery/docs/reference/standard-sql/lexical#reserved_keywords */
const RESERVED = new Set(
  (
    'ALL AND ANY ARRAY AS ASC ASSERT_ROWS_MODIFIED AT BETWEEN BY CASE CAST COLLATE CONTAINS CREATE CROSS CUBE CURRENT ' +
    'DEFAULT DEFINE DESC DISTINCT ELSE END ENUM ESCAPE EXCEPT EXCLUDE EXISTS EXTRACT FALSE FETCH FOLLOWING FOR FROM ' +
    'FULL GROUP GROUPING GROUPS HASH HAVING IF IGNORE IN INNER INTERSECT INTERVAL INTO IS JOIN LATERAL LEFT LIKE ' +
    'LIMIT LOOKUP MERGE NATURAL NEW NO NOT NULL NULLS OF ON OR ORDER OUTER OVER PARTITION PRECEDING PROTO QUALIFY ' +
    'RANGE RECURSIVE RESPECT RIGHT ROLLUP ROWS SELECT SET SOME STRUCT TABLESAMPLE THEN TO TREAT TRUE UNBOUNDED UNION ' +
    'UNNEST USING WHEN WHERE WINDOW WITH WITHIN'
  ).split(' ')
);

/** The tables that a text names after FROM and JOIN, as `project.dataset.table` or less. */
export function tables(sql: string): string[] {
  const found = new Set<string>();
  const list = code(sql);
  list.forEach((token, at) => {
    if (isWord(token, 'FROM', 'JOIN')) {
      const name = nameAt(list, at + 1);
      if (name.includes('.')) {
        found.add(name);
      }
    }
  });
  return [...found];
}

/** The dotted name that begins at a token; empty where none does. */
function nameAt(list: Token[], start: number): string {
  let name = '';
  for (let at = start; at < list.length; at++) {
    const { kind, text } = list[at];
    const isPart = kind === 'word' || kind === 'quoted' || text === '.' || text === '-' || (kind === 'number' && name);
    const isNext = kind === 'word' && /[\w`]$/.test(name);
    if (!isPart || isNext || isWord(list[at], 'UNNEST', 'SELECT')) {
      break;
    }
    name += kind === 'quoted' ? text.replace(/`/g, '') : text;
  }
  return name;
}
