// Ad-hoc filters: conditions that a viewer adds to every query of a board. They go into the WHERE of the
// outermost SELECT, where a query that is answered in parts stays one; a text whose outermost SELECT is not
// one alone is filtered from outside.
import { code, isWord, literal, path, Token } from './sql';

export interface Filter {
  key: string;
  operator: string;
  value: string;
  values?: string[];
}

/** The type of a column, where it is known. */
export type TypeOf = (column: string) => string | undefined;

const AFTER_WHERE = ['GROUP', 'HAVING', 'QUALIFY', 'WINDOW', 'ORDER', 'LIMIT'];
const SETS = ['UNION', 'INTERSECT', 'EXCEPT'];

export function filtered(sql: string, filters: Filter[], typeOf: TypeOf = () => undefined): string {
  const conditions = filters.filter((filter) => filter.key && filter.operator).map((one) => condition(one, typeOf));
  if (conditions.length === 0) {
    return sql;
  }
  const text = sql.replace(/[\s;]+$/, '');
  return inside(text, conditions.join(' AND ')) ?? `SELECT * FROM (\n${text}\n) WHERE ${conditions.join(' AND ')}`;
}

/** The text with the condition in its outermost WHERE, or nothing where it has no single one. */
function inside(text: string, condition: string): string | undefined {
  const list = code(text).filter((token) => token.depth === 0);
  const selects = list.filter((token) => isWord(token, 'SELECT'));
  // EXCEPT is also what follows `*`.
  const isSet = list.some((token, at) => isWord(token, ...SETS) && list[at - 1]?.text !== '*');
  const from = list.findIndex((token) => isWord(token, 'FROM') && token.at > (selects[0]?.at ?? Infinity));
  if (selects.length !== 1 || isSet || from < 0 || list.some((token) => token.text === '|')) {
    return undefined;
  }
  const where = list.findIndex((token, at) => at > from && isWord(token, 'WHERE'));
  const after = list.findIndex((token, at) => at > Math.max(from, where) && isWord(token, ...AFTER_WHERE));
  const end = endOf(text, list, after < 0 ? undefined : list[after]);
  if (where < 0) {
    return `${text.slice(0, end)}\nWHERE ${condition}${text.slice(end)}`;
  }
  const begin = list[where].at + 'WHERE'.length;
  const hasOr = list.some((token) => token.at > begin && token.at < end && isWord(token, 'OR'));
  const old = text.slice(begin, end).trim();
  // A comment may be the last of the old condition's line.
  const kept = hasOr ? `(${old}\n)` : old;
  return `${text.slice(0, begin)} ${condition} AND ${kept}${text.slice(end)}`;
}

/** Where the code before a token ends, or that of the whole text. */
function endOf(text: string, outer: Token[], before?: Token): number {
  const all = code(text).filter((token) => token.at < (before?.at ?? Infinity));
  const last = all[all.length - 1] ?? outer[outer.length - 1];
  return last.at + last.text.length;
}

function condition(filter: Filter, typeOf: TypeOf): string {
  const column = path(filter.key);
  const type = typeOf(filter.key);
  const one = (value: string) => typed(value, type);
  const several = (filter.values?.length ? filter.values : [filter.value]).map(one).join(', ');
  switch (filter.operator) {
    case '=~':
      return `REGEXP_CONTAINS(CAST(${column} AS STRING), ${literal(filter.value)})`;
    case '!~':
      return `NOT REGEXP_CONTAINS(CAST(${column} AS STRING), ${literal(filter.value)})`;
    case '=|':
      return `${column} IN (${several})`;
    case '!=|':
      return `${column} NOT IN (${several})`;
    case '=':
    case '!=':
    case '<':
    case '>':
    case '<=':
    case '>=':
      return `${column} ${filter.operator} ${one(filter.value)}`;
    default:
      throw new Error(`ad-hoc filter ${filter.key}: the operator ${filter.operator} is not supported`);
  }
}

const NUMBERS = ['INTEGER', 'INT64', 'FLOAT', 'FLOAT64', 'NUMERIC', 'BIGNUMERIC'];

/** A literal that the column can be compared with; those of times and dates are written as texts. */
function typed(value: string, type?: string): string {
  const isNumber = /^-?\d+(\.\d+)?([eE][-+]?\d+)?$/.test(value);
  const isBoolean = /^(true|false)$/i.test(value);
  if ((type && NUMBERS.includes(type) && isNumber) || (type?.startsWith('BOOL') && isBoolean)) {
    return value;
  }
  return literal(value);
}
