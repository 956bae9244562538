// The builder for Mozilla's monitoring datasets: what was chosen becomes plain SQL, in the form that is
// answered from the cache as well as it can be.
import { Build } from './types';
import { backticked, literal, path } from './sql';

export interface Dataset {
  name: string;
  label: string;
  table: string;
  time: string;
  value: string;
  /** `flow`: numbers of events, which add up over time. `level`: how many there are, which do not. */
  kind: 'flow' | 'level';
  dimensions: string[];
}

const PROJECT = 'moz-fx-data-shared-prod';

function view(name: string, label: string, kind: Dataset['kind'], dimensions: string[]): Dataset {
  return { name, label, table: `${PROJECT}.telemetry.${name}`, time: 'time', value: 'value', kind, dimensions };
}

function search(value: string, label: string): Dataset {
  const table = `${PROJECT}.telemetry_derived.experiment_search_aggregates_live_v1`;
  return { name: value, label, table, time: 'window_start', value, kind: 'flow', dimensions: ['branch'] };
}

const CHANNEL = 'normalized_channel';

export const DATASETS: Dataset[] = [
  view('experiment_enrollment_overall', 'Enrollments', 'flow', ['branch', CHANNEL]),
  view('experiment_unenrollment_overall', 'Unenrollments', 'flow', ['branch', CHANNEL]),
  view('experiment_exposure_overall', 'Exposures', 'flow', ['branch', CHANNEL]),
  view('experiment_enrollment_other_events_overall', 'Other events', 'flow', ['branch', CHANNEL, 'event']),
  view('experiment_enrollment_cumulative_population_estimate', 'Population estimate', 'level', ['branch']),
  view('experiment_enrollment_daily_active_population', 'Daily active population', 'level', ['branch']),
  search('search_count', 'Searches'),
  search('search_with_ads_count', 'Searches with ads'),
  search('ad_clicks_count', 'Ad clicks'),
  view('experiment_cumulative_search_count', 'Searches, cumulative', 'level', ['branch']),
  view('experiment_cumulative_search_with_ads_count', 'Searches with ads, cumulative', 'level', ['branch']),
  view('experiment_cumulative_ad_clicks', 'Ad clicks, cumulative', 'level', ['branch']),
  view('experiment_crash_counts', 'Crashes', 'flow', ['branch', 'crash_process_type']),
];

export interface Measure {
  name: string;
  label: string;
  /** The bucket; nothing for one number over the whole range. */
  bucket?: string;
}

export const MEASURES: Measure[] = [
  { name: 'interval', label: "per panel's interval", bucket: '$__interval' },
  { name: 'hour', label: 'per hour', bucket: '1h' },
  { name: 'day', label: 'per day', bucket: '1d' },
  { name: 'total', label: 'over the range' },
];

export const EMPTY: Build = {
  dataset: DATASETS[0].name,
  measure: MEASURES[0].name,
  groupBy: ['branch'],
  filters: { experiment: '$experiment_id' },
};

/** The columns that a dataset can be filtered by. */
export function filterable(dataset: Dataset): string[] {
  return ['experiment', ...dataset.dimensions];
}

export function datasetOf(build: Build): Dataset {
  return DATASETS.find((dataset) => dataset.name === build.dataset) ?? DATASETS[0];
}

/** The choice, without what the dataset does not have. */
export function fitted(build: Build): Build {
  const dataset = datasetOf(build);
  const filters = Object.entries(build.filters).filter(([column]) => filterable(dataset).includes(column));
  return {
    dataset: dataset.name,
    measure: (MEASURES.find((measure) => measure.name === build.measure) ?? MEASURES[0]).name,
    groupBy: build.groupBy.filter((column) => dataset.dimensions.includes(column)),
    filters: Object.fromEntries(filters),
  };
}

/** The SQL of a choice. */
export function buildSql(build: Build): string {
  const { measure, groupBy, filters } = fitted(build);
  const dataset = datasetOf(build);
  const bucket = MEASURES.find((one) => one.name === measure)?.bucket;
  const aggregate = dataset.kind === 'flow' ? 'SUM' : 'MAX';
  // A level of several branches is the sum of theirs, each at its highest in the bucket.
  const isSummed = dataset.kind === 'level' && !groupBy.includes('branch');
  const columns = isSummed ? [...groupBy, 'branch'] : groupBy;
  const from = [`FROM ${backticked(dataset.table)}`, `WHERE ${conditions(dataset, filters).join(' AND ')}`];
  const inner = grouped(bucket && `$__timeGroup(${dataset.time}, ${bucket}) AS time`, columns, aggregate, dataset.value, from);
  if (!isSummed) {
    return inner;
  }
  return grouped(bucket && 'time', groupBy, 'SUM', 'value', ['FROM (', inner.replace(/\nORDER BY [\d, ]+$/, ''), ')']);
}

function grouped(time: string | undefined, columns: string[], aggregate: string, value: string, from: string[]): string {
  const keys = [...(time ? [time] : []), ...columns.map(path)];
  const numbers = keys.map((_, index) => index + 1).join(', ');
  return [
    `SELECT ${[...keys, `${aggregate}(${path(value)}) AS value`].join(', ')}`,
    ...from,
    ...(numbers ? [`GROUP BY ${numbers}`, `ORDER BY ${numbers}`] : []),
  ].join('\n');
}

function conditions(dataset: Dataset, filters: Record<string, string>): string[] {
  const found = filterable(dataset).flatMap((column) => filter(column, filters[column]));
  // Rows without a branch are counted again elsewhere.
  return [...found, 'branch IS NOT NULL', `$__timeFilter(${dataset.time})`];
}

const VARIABLE = /^\$(?:\w+|\{(\w+)(:\w+)?\})$/;

/** A filter's values, separated by commas; a dashboard variable stands for one value or many. */
function filter(column: string, text = ''): string[] {
  const values = text.split(',').map((value) => value.trim()).filter(Boolean);
  if (values.length === 0) {
    return [];
  }
  const written = values.map((value) => (VARIABLE.test(value) ? variable(value) : literal(value)));
  if (written.length === 1 && !VARIABLE.test(values[0])) {
    return [`${path(column)} = ${written[0]}`];
  }
  return [`${path(column)} IN (${written.join(', ')})`];
}

/** Grafana's own format quotes a variable whether it has one value or several. */
function variable(text: string): string {
  const name = text.replace(/^\$\{?(\w+).*$/, '$1');
  return '${' + name + ':singlequote}';
}
