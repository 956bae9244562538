import { expect, test } from 'vitest';
import { literal, path, tables, tokens } from '../src/sql';

const TEXTS = [
  "SELECT 'a\\'b', \"x\" -- comment'\nFROM `p-q.d.t` # more\nWHERE r'\\d' = b\"\"\"a\"b\"\"\" /* ' */ AND $__timeFilter(t)",
  "unclosed 'text",
  '/* unclosed',
  '`unclosed',
  '((',
  '',
];

test.each(TEXTS)('the tokens of %s are the text', (sql) => {
  expect(
    tokens(sql)
      .map((token) => token.text)
      .join('')
  ).toBe(sql);
});

test('brackets have a depth', () => {
  const depths = tokens('a(b[c])d').map(({ text, depth }) => text + depth);
  expect(depths).toEqual(['a0', '(0', 'b1', '[1', 'c2', ']1', ')0', 'd0']);
});

test('an escaped quote does not end a string', () => {
  expect(tokens("'a\\' b' c").map(({ kind }) => kind)).toEqual(['string', 'space', 'word']);
});

test.each([
  ['SELECT 1 FROM `p-q.d.t` AS x JOIN d2.t2 USING (a)', ['p-q.d.t', 'd2.t2']],
  ['SELECT 1 FROM my-project.d.t WHERE a', ['my-project.d.t']],
  ['SELECT 1 FROM `p`.`d`.t, UNNEST(x.y)', ['p.d.t']],
  ["SELECT 'FROM a.b' -- FROM c.d\nFROM (SELECT 1 FROM e.f)", ['e.f']],
  ['SELECT EXTRACT(DAY FROM t) FROM cte', []],
  ['SELECT 1 FROM UNNEST(a.b)', []],
])('the tables of %s', (sql, expected) => {
  expect(tables(sql)).toEqual(expected);
});

test('names that are not plain stand in backticks', () => {
  expect(['a', 'a.b', 'order', 'a-b.c', 'x`y'].map(path)).toEqual(['a', 'a.b', '`order`', '`a-b`.c', '`x\\`y`']);
});

test('quotes and backslashes of a literal are escaped as BigQuery reads them', () => {
  expect(literal("it's \\ here")).toBe("'it\\'s \\\\ here'");
});
