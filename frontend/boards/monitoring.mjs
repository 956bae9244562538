// SQL over Mozilla's monitoring datasets, in the forms that the boards show.
import { EXPERIMENTS, PROJECT } from './panels.mjs';

export function view(name) {
  return `\`${PROJECT}.telemetry.${name}\``;
}

const SEARCH = `\`${PROJECT}.telemetry_derived.experiment_search_aggregates_live_v1\``;

/** The rows of the chosen experiment, branches and, where the view has them, channels. */
export function chosen({ time = 'time', hasChannel = true, branches = 'branch IN ($branch_id)' } = {}) {
  return [
    "experiment = '$experiment_id'",
    'branch IS NOT NULL',
    ...(branches ? [branches] : []),
    ...(hasChannel ? ['normalized_channel IN ($normalized_channel)'] : []),
    `$__timeFilter(${time})`,
  ].join(' AND ');
}

/** Events in each bucket, in all or by some column. */
export function flow(name, { by = [], bucket = '$__interval', hasChannel = true } = {}) {
  return counted({ source: view(name), by, bucket, where: chosen({ hasChannel }) });
}

/** Searches have the columns of their table. */
export function searches(column) {
  const where = chosen({ time: 'window_start', hasChannel: false });
  return counted({ source: SEARCH, by: ['branch'], time: 'window_start', value: column, where });
}

function counted({ source, by, bucket = '$__interval', time = 'time', value = 'value', where }) {
  const columns = [`$__timeGroup(${time}, ${bucket}) AS time`, ...by, `SUM(${value}) AS value`];
  const keys = columns.slice(1).map((_, at) => at + 1).join(', ');
  return `SELECT ${columns.join(', ')}\nFROM ${source}\nWHERE ${where}\nGROUP BY ${keys}\nORDER BY ${keys}`;
}

/** How many there are: a branch's highest in each bucket. */
export function level(name) {
  const columns = '$__timeGroup(time, $__interval) AS time, branch, MAX(value) AS value';
  return `SELECT ${columns}\nFROM ${view(name)}\nWHERE ${chosen({ hasChannel: false })}\nGROUP BY 1, 2\nORDER BY 1, 2`;
}

export function total(sql) {
  return `SELECT time, SUM(value) AS value\nFROM (\n${unordered(sql)}\n)\nGROUP BY 1\nORDER BY 1`;
}

/** The sum of running totals: a branch without rows in a bucket, such as the last one, stands where it stood. */
export function standing(sql) {
  const grown = 'value - IFNULL(LAG(value) OVER (PARTITION BY branch ORDER BY time), 0) AS value';
  return cumulative(total(`SELECT time, ${grown}\nFROM (\n${unordered(sql)}\n)`));
}

/** Events from the range's start on. */
export function cumulative(sql, by) {
  const partition = by ? `PARTITION BY ${by} ` : '';
  const columns = ['time', ...(by ? [by] : []), `SUM(value) OVER (${partition}ORDER BY time) AS value`].join(', ');
  return `SELECT ${columns}\nFROM (\n${unordered(sql)}\n)\nORDER BY 1`;
}

function unordered(sql) {
  return sql.replace(/\nORDER BY [\d, ]+$/, '');
}

/** One number over the range. */
export function sum(name, more = '') {
  return `SELECT SUM(value) AS value\nFROM ${view(name)}\nWHERE ${chosen()}${more}`;
}

/**
 * Where chi-square is beyond chance (p = 0.001), by degrees of freedom from 1 to 9.
 * Source: https://www.itl.nist.gov/div898/handbook/eda/section3/eda3674.htm
 */
const CRITICAL = [10.828, 13.816, 16.266, 18.467, 20.515, 22.458, 24.322, 26.125, 27.877];
const CRITICAL_SQL = `CASE MAX(branches) ${CRITICAL.map((value, at) => `WHEN ${at + 2} THEN ${value}`).join(' ')} END`;

/** The largest deviation of a branch's share from its ratio if it is beyond chance, else 0; of the counts n by branch. */
const DEVIATION =
  `IF(SUM(SAFE_DIVIDE(POW(n - total * share, 2), total * share)) > ${CRITICAL_SQL},\n` +
  '  MAX(ABS(SAFE_DIVIDE(n, total) - share)), 0.0)';

/** The ratios of branches, equal where one has none, and never of rollouts, which have no reference. */
const RATIOS =
  'SELECT e.normandy_slug AS experiment, b.slug AS branch,\n' +
  'IF(COUNT(b.ratio) OVER (PARTITION BY e.normandy_slug) = COUNT(*) OVER (PARTITION BY e.normandy_slug), b.ratio, 1) AS ratio\n' +
  `FROM ${EXPERIMENTS} AS e CROSS JOIN UNNEST(e.branches) AS b\n` +
  'WHERE e.is_rollout IS NOT TRUE';

/** Shares and counts for each branch of each experiment of \`counts (experiment, branch, n)\`. */
const SHARES =
  'SELECT ratios.experiment, IFNULL(counts.n, 0) AS n,\n' +
  'ratios.ratio / SUM(ratios.ratio) OVER (PARTITION BY ratios.experiment) AS share,\n' +
  'SUM(IFNULL(counts.n, 0)) OVER (PARTITION BY ratios.experiment) AS total,\n' +
  'COUNT(*) OVER (PARTITION BY ratios.experiment) AS branches\n' +
  'FROM ratios LEFT JOIN counts ON counts.experiment = ratios.experiment AND counts.branch = ratios.branch';

const KEYS = 'experiment, branch';

/** Sample ratio mismatch of events, or of how many there are (their mean over the range). */
export function mismatch(name, aggregate = 'SUM') {
  const where = chosen({ hasChannel: false, branches: '' });
  return (
    `WITH counts AS (\nSELECT ${KEYS}, ${aggregate}(value) AS n\nFROM ${view(name)}\nWHERE ${where}\nGROUP BY 1, 2\n),\n` +
    `ratios AS (\n${RATIOS} AND e.normandy_slug = '$experiment_id'\n),\nshares AS (\n${SHARES}\n)\n` +
    `SELECT ${DEVIATION} AS deviation\nFROM shares`
  );
}

/** Every live experiment and rollout with its numbers over the range and what is wrong with it. */
export function health() {
  const counts = (name, columns) =>
    `SELECT ${columns}, SUM(value) AS n\nFROM ${view(name)}\nWHERE branch IS NOT NULL AND $__timeFilter(time)\n` +
    `GROUP BY ${columns}`;
  const rate = 'SAFE_DIVIDE(IFNULL(gone.n, 0), enrolled.n)';
  return (
    `WITH counts AS (\n${counts('experiment_enrollment_overall', KEYS)}\n),\n` +
    'enrolled AS (\nSELECT experiment, SUM(n) AS n FROM counts GROUP BY experiment\n),\n' +
    `gone AS (\n${counts('experiment_unenrollment_overall', 'experiment')}\n),\n` +
    `ratios AS (\n${RATIOS}\n),\nshares AS (\n${SHARES}\n),\n` +
    `mismatches AS (\nSELECT experiment, ${DEVIATION} AS deviation\nFROM shares\nGROUP BY experiment\n)\n` +
    'SELECT e.normandy_slug AS experiment,\n' +
    "CASE WHEN IFNULL(mismatches.deviation, 0.0) >= 0.05 THEN 'sample ratio mismatch'\n" +
    `WHEN ${rate} > 0.1 THEN 'many unenrollments'\n` +
    "WHEN IFNULL(enrolled.n, 0) < 1000 AND DATE_DIFF(CURRENT_DATE(), e.start_date, DAY) >= 3 THEN 'few enrollments'\n" +
    "ELSE 'good' END AS health,\n" +
    `IFNULL(enrolled.n, 0) AS enrollments, ${rate} AS unenrollment_rate, IFNULL(mismatches.deviation, 0.0) AS deviation,\n` +
    "e.app_name AS application, IF(e.is_rollout, 'rollout', 'experiment') AS kind, e.start_date AS started\n" +
    `FROM ${EXPERIMENTS} AS e\n` +
    'LEFT JOIN enrolled ON enrolled.experiment = e.normandy_slug\n' +
    'LEFT JOIN gone ON gone.experiment = e.normandy_slug\n' +
    'LEFT JOIN mismatches ON mismatches.experiment = e.normandy_slug\n' +
    "WHERE e.status = 'Live' AND e.start_date IS NOT NULL AND e.app_name IN ($application)\n" +
    "ORDER BY health = 'good', enrollments DESC"
  );
}
