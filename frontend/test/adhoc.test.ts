import { expect, test } from 'vitest';
import { Filter, filtered } from '../src/adhoc';

const branch: Filter = { key: 'branch', operator: '=', value: 'control' };
const squeezed = (sql: string) => sql.replace(/\s+/g, ' ');

test.each([
  ['SELECT a FROM t', "SELECT a FROM t WHERE branch = 'control'"],
  ['SELECT a FROM t GROUP BY 1', "SELECT a FROM t WHERE branch = 'control' GROUP BY 1"],
  ['SELECT a FROM t WHERE $__timeFilter(time) ORDER BY 1;', "SELECT a FROM t WHERE branch = 'control' AND $__timeFilter(time) ORDER BY 1"],
  ['SELECT a FROM t WHERE x OR y -- z\nLIMIT 3', "SELECT a FROM t WHERE branch = 'control' AND (x OR y ) -- z LIMIT 3"],
  ['SELECT a FROM t WHERE (x OR y)', "SELECT a FROM t WHERE branch = 'control' AND (x OR y)"],
  ['SELECT * EXCEPT (a) FROM t', "SELECT * EXCEPT (a) FROM t WHERE branch = 'control'"],
  ['SELECT a FROM (SELECT 1 FROM u WHERE b) AS t', "SELECT a FROM (SELECT 1 FROM u WHERE b) AS t WHERE branch = 'control'"],
  ['SELECT 1 FROM t UNION ALL SELECT 2 FROM u', "SELECT * FROM ( SELECT 1 FROM t UNION ALL SELECT 2 FROM u ) WHERE branch = 'control'"],
  ["SELECT 'x WHERE y' AS a FROM t", "SELECT 'x WHERE y' AS a FROM t WHERE branch = 'control'"],
  ['WITH c AS (SELECT 1 FROM t WHERE x) SELECT * FROM c', "WITH c AS (SELECT 1 FROM t WHERE x) SELECT * FROM c WHERE branch = 'control'"],
])('%s', (sql, expected) => {
  expect(squeezed(filtered(sql, [branch]))).toBe(expected);
});

test.each<[Partial<Filter>, string]>([
  [{ operator: '!=', value: "it's" }, "branch != 'it\\'s'"],
  [{ operator: '=~', value: 'a.*' }, "REGEXP_CONTAINS(CAST(branch AS STRING), 'a.*')"],
  [{ operator: '!~', value: 'a' }, "NOT REGEXP_CONTAINS(CAST(branch AS STRING), 'a')"],
  [{ operator: '=|', value: 'a', values: ['a', 'b'] }, "branch IN ('a', 'b')"],
  [{ operator: '!=|', value: 'a' }, "branch NOT IN ('a')"],
  [{ key: 'n', value: '5' }, 'n = 5'],
  [{ key: 'n', value: '5; DROP TABLE t' }, "n = '5; DROP TABLE t'"],
  [{ key: 'flag', value: 'true' }, 'flag = true'],
  [{ key: 'unknown', value: '5' }, "unknown = '5'"],
  [{ key: 'a b) OR (c', value: '5' }, "`a b) OR (c` = '5'"],
])('%j', (change, expected) => {
  const types: Record<string, string> = { n: 'INTEGER', flag: 'BOOLEAN' };
  const sql = filtered('SELECT 1 FROM t', [{ ...branch, ...change }], (column) => types[column]);
  expect(squeezed(sql)).toBe(`SELECT 1 FROM t WHERE ${expected}`);
});

test('no filter leaves the text, and an unknown operator is an error', () => {
  expect(filtered('SELECT 1;', [])).toBe('SELECT 1;');
  expect(() => filtered('SELECT 1 FROM t', [{ ...branch, operator: '~~' }])).toThrow('branch: the operator ~~');
});
