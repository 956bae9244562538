// Enrollment of one experiment: the panels of the board that Experimenter's users know, in their order.
import { chosen, cumulative, flow, level, mismatch, searches, standing, sum, total, view } from './monitoring.mjs';
import { board, EXPERIMENTS, field, labels, series, sql, stat, table, text, thresholds, variable } from './panels.mjs';

const LIVE = 'Five-minute windows, a few minutes late; not de-duplicated for the last two days.';
const DAILY = 'From the daily job: a day appears after it has ended.';
const SEARCH = 'Five-minute windows of the search tables, by branch.';
const CRASH = 'From the start of the range on.';

const EVENTS = 'experiment_enrollment_other_events_overall';
const POPULATION = 'experiment_enrollment_cumulative_population_estimate';
const ACTIVE = 'experiment_enrollment_daily_active_population';
const CRASHES = 'experiment_crash_counts';

const RULE = 'Sample ratio mismatch: how far a branch is off its ratio, if that is beyond chance (p < 0.001); from 5 % on it is one.';

function choices(column) {
  const from = view('experiment_enrollment_overall');
  return `SELECT DISTINCT ${column}\nFROM ${from}\nWHERE experiment = '$experiment_id' AND ${column} IS NOT NULL AND $__timeFilter(time)\nORDER BY ${column}`;
}

const STATUS =
  'SELECT e.value AS enrollments, SAFE_DIVIDE(u.value, e.value) AS unenrollment_rate\n' +
  `FROM (\n${sum('experiment_enrollment_overall')}\n) AS e\nCROSS JOIN (\n${sum('experiment_unenrollment_overall')}\n) AS u`;

const REASONS =
  `SELECT branch, event, SUM(value) AS clients\nFROM ${view(EVENTS)}\nWHERE ${chosen()}` +
  " AND event IN ('graduated', 'disqualification', 'unenroll_failed')\nGROUP BY 1, 2\nORDER BY 1, 2";

function status() {
  const rate = { unit: 'percentunit', thresholds: thresholds(['green'], ['yellow', 0.01], ['orange', 0.05], ['red', 0.1]) };
  const options = { steps: [['red'], ['green', 500]], overrides: [field('unenrollment_rate', rate)], fields: '/.*/' };
  const note = 'In the range. Red: under 500 enrollments, or more than 10 % unenrolled (orange 5 %, yellow 1 %).';
  return stat('Enrollment status', note, sql(STATUS, 1), options);
}

function ratio(title, rawSql) {
  const steps = [['green'], ['orange', 0.0001], ['red', 0.05]];
  return stat(title, RULE, sql(rawSql, 1), { unit: 'percentunit', steps });
}

const errors = sum(EVENTS, " AND event IN ('enroll_failed', 'unenroll_failed', 'update_failed', 'validation_failed')");

/** The same in total and by branch. */
function both(title, note, inAll, byBranch, options) {
  return {
    height: 8,
    panels: [
      series(`${title}: total`, note, sql(inAll, 0), { ...options, name: 'all' }),
      series(`${title}: by branch`, note, sql(byBranch, 0), { ...options, name: labels('branch') }),
    ],
  };
}

function flows(title, name, options = {}, shown) {
  return both(title, LIVE, flow(name, options), flow(name, { ...options, by: ['branch'] }), shown);
}

function levels(title, note, name, add = total) {
  return both(title, note, add(level(name)), level(name));
}

function search(title, column, view) {
  return {
    height: 8,
    panels: [
      series(title, SEARCH, sql(searches(column), 0), { name: labels('branch') }),
      series(`${title}, cumulative`, SEARCH, sql(level(view), 0), { name: labels('branch') }),
    ],
  };
}

function crashes(title, by) {
  const columns = by ? [by] : [];
  return series(title, CRASH, sql(cumulative(flow(CRASHES, { by: columns, hasChannel: false }), by), 0), { name: by ? labels(by) : 'all' });
}

export default board({
  uid: 'weir-experiment-enrollment',
  title: 'Experiment enrollment',
  description: 'Enrollment of one experiment, from five-minute windows.',
  from: 'now-28d',
  refresh: '5m',
  links: [{ type: 'link', title: 'All experiments', url: '/d/weir-experiment-overview', icon: 'dashboard', targetBlank: false, asDropdown: false, includeVars: false, keepTime: true, tags: [], tooltip: '' }],
  variables: [
    variable('experiment_id', 'Experiment', `SELECT normandy_slug\nFROM ${EXPERIMENTS}\nWHERE start_date IS NOT NULL\nORDER BY normandy_slug`, false),
    variable('branch_id', 'Branch', choices('branch'), true),
    variable('normalized_channel', 'Channel', choices('normalized_channel'), true),
  ],
  rows: [
    {
      height: 3,
      panels: [
        text(
          'Counts come from five-minute windows and appear a few minutes late; Weir keeps them for up to five minutes more. ' +
            'Counts of the last two days are not de-duplicated and may change when the daily job has run. ' +
            'Daily active clients appear after a day has ended. The panel inspector says how old each answer is and what it cost.'
        ),
      ],
    },
    {
      height: 5,
      panels: [
        status(),
        ratio('Mismatch: enrollments', mismatch('experiment_enrollment_overall')),
        ratio('Mismatch: unenrollments', mismatch('experiment_unenrollment_overall')),
        ratio('Mismatch: daily active', mismatch(ACTIVE, 'AVG')),
        stat('Errors', 'Failed enrollments, unenrollments, updates and validations in the range. Errors of the statistical analysis are not among them.', sql(errors, 1), { steps: [['green'], ['orange', 1]] }),
      ],
    },
    levels('Daily active population', DAILY, ACTIVE),
    levels('Cumulative population estimate', LIVE, POPULATION, standing),
    flows('Daily enrollments', 'experiment_enrollment_overall', { bucket: '1d' }, { bars: true, stack: true }),
    flows('Enrollment overall', 'experiment_enrollment_overall'),
    flows('Unenrollment overall', 'experiment_unenrollment_overall'),
    {
      height: 8,
      panels: [
        series('Other events: by event', LIVE, sql(flow(EVENTS, { by: ['event'] }), 0), { stack: true, name: labels('event') }),
        series('Other events: by branch and event', LIVE, sql(flow(EVENTS, { by: ['branch', 'event'] }), 0), { name: labels('branch', 'event') }),
      ],
    },
    {
      height: 7,
      panels: [table('Unenrollment reasons', 'As far as live events tell: clients that graduated, were disqualified, or failed to leave.', sql(REASONS, 1))],
    },
    search('Searches', 'search_count', 'experiment_cumulative_search_count'),
    search('Ad clicks', 'ad_clicks_count', 'experiment_cumulative_ad_clicks'),
    search('Searches with ads', 'search_with_ads_count', 'experiment_cumulative_search_with_ads_count'),
    {
      height: 8,
      panels: [
        crashes('Crashes, cumulative: total'),
        crashes('Crashes, cumulative: by branch', 'branch'),
        crashes('Crashes, cumulative: by process', 'crash_process_type'),
      ],
    },
  ],
});
