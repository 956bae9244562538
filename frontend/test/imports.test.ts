import { expect, test } from 'vitest';
import { imported, savedQuery } from '../src/imports';

test('a target of the official plugin, as its editor saves it', () => {
  const [query] = imported(
    [{ refId: 'B', rawSql: 'SELECT 1', format: 1, location: 'EU', dataset: 'd', editorMode: 'builder', sql: { columns: [] } } as never],
    'grafana-bigquery-datasource'
  );
  expect(query).toEqual({
    refId: 'B', rawSql: 'SELECT 1', format: 1, location: 'EU', dataset: 'd', table: undefined, editorMode: 'code', rawQuery: true,
  });
});

test('a target of the official plugin, as it is sent', () => {
  const [query] = imported(
    [{ refId: 'A', rawSql: 'SELECT 1', format: 0, connectionArgs: { dataset: 'd', table: 't', location: 'US' }, datasource: { type: 'x' } } as never],
    'grafana-bigquery-datasource'
  );
  expect(query).toMatchObject({ dataset: 'd', table: 't', location: 'US' });
  expect(Object.keys(query)).not.toContain('connectionArgs');
  expect(Object.keys(query)).not.toContain('datasource');
});

test("a target of doitintl's plugin keeps the keys that its macros take their meaning from", () => {
  const target = {
    refId: 'A', format: 'time_series', rawQuery: false, rawSql: '#standardSQL\nSELECT $__timeGroup(t,1h)', project: 'p',
    dataset: 'd', table: 't', timeColumn: 't', timeColumnType: 'DATE', metricColumn: 'none', location: 'US',
  };
  expect(imported([target as never], 'doitintl-bigquery-datasource')).toEqual([target]);
});

test('SQL of another source keeps its text, and what has none is left out', () => {
  const queries = [{ refId: 'A', rawSql: 'SELECT 1', format: 'table', rawQueryText: 'x' }, { refId: 'B', expr: 'up' }];
  expect(imported(queries as never, 'mysql')).toEqual([
    { refId: 'A', hide: undefined, rawSql: 'SELECT 1', format: 'table', editorMode: 'code', rawQuery: true },
  ]);
});

test.each([
  ['SELECT 1', 'SELECT 1'],
  [{ rawSql: 'SELECT 2', format: 0 }, 'SELECT 2'],
  [{ query: 'SELECT 3', refId: 'x' }, 'SELECT 3'],
  [undefined, undefined],
])('a saved variable %j is a table of %s', (saved, sql) => {
  const query = savedQuery(saved, 'variable');
  expect([query.rawSql, query.format]).toEqual([sql, 1]);
});
