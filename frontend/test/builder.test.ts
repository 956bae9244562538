import { expect, test } from 'vitest';
import { buildSql, DATASETS, EMPTY, fitted, MEASURES } from '../src/builder';

const from = (name: string) => `FROM \`moz-fx-data-shared-prod.telemetry.${name}\``;

test('a flow by branch', () => {
  expect(buildSql(EMPTY)).toBe(
    'SELECT $__timeGroup(time, $__interval) AS time, branch, SUM(value) AS value\n' +
      `${from('experiment_enrollment_overall')}\n` +
      'WHERE experiment IN (${experiment_id:singlequote}) AND branch IS NOT NULL AND $__timeFilter(time)\n' +
      'GROUP BY 1, 2\nORDER BY 1, 2'
  );
});

test('a level over all branches is the sum of theirs', () => {
  const build = { dataset: 'experiment_cumulative_ad_clicks', measure: 'day', groupBy: [], filters: { experiment: 'x' } };
  expect(buildSql(build)).toBe(
    'SELECT time, SUM(value) AS value\nFROM (\n' +
      'SELECT $__timeGroup(time, 1d) AS time, branch, MAX(value) AS value\n' +
      `${from('experiment_cumulative_ad_clicks')}\n` +
      "WHERE experiment = 'x' AND branch IS NOT NULL AND $__timeFilter(time)\nGROUP BY 1, 2\n)\nGROUP BY 1\nORDER BY 1"
  );
});

test('one number over the range', () => {
  const build = { dataset: 'search_count', measure: 'total', groupBy: [], filters: { experiment: "it's", branch: 'a, b' } };
  expect(buildSql(build)).toBe(
    'SELECT SUM(search_count) AS value\n' +
      'FROM `moz-fx-data-shared-prod.telemetry_derived.experiment_search_aggregates_live_v1`\n' +
      "WHERE experiment = 'it\\'s' AND branch IN ('a', 'b') AND branch IS NOT NULL AND $__timeFilter(window_start)"
  );
});

test('what a dataset does not have is left out', () => {
  const build = { dataset: 'experiment_crash_counts', measure: 'none', groupBy: ['branch', 'event'], filters: { event: 'x', branch: 'a' } };
  expect(fitted(build)).toEqual({ ...build, measure: MEASURES[0].name, groupBy: ['branch'], filters: { branch: 'a' } });
});

test('names of datasets are theirs alone', () => {
  expect(new Set(DATASETS.map(({ name }) => name)).size).toBe(DATASETS.length);
});
