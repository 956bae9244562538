// All live experiments and rollouts, the unhealthy ones to be seen at a glance.
import { health, view } from './monitoring.mjs';
import { board, EXPERIMENTS, field, series, sql, stat, table, thresholds, variable } from './panels.mjs';

const LIVE = `FROM ${EXPERIMENTS} AS e\nWHERE e.status = 'Live' AND e.start_date IS NOT NULL AND e.app_name IN ($application)`;

function count(kind) {
  return `SELECT COUNT(*) AS n\n${LIVE} AND e.is_rollout IS ${kind}`;
}

/** Events of all experiments, whatever their application: the views do not tell it. */
function hourly(name) {
  return `SELECT $__timeGroup(time, 1h) AS time, SUM(value) AS value\nFROM ${view(name)}\nWHERE branch IS NOT NULL AND $__timeFilter(time)\nGROUP BY 1\nORDER BY 1`;
}

const link = {
  title: 'Enrollment of ${__value.text}',
  url: '/d/weir-experiment-enrollment?var-experiment_id=${__value.text}&${__url_time_range}',
};

export default board({
  uid: 'weir-experiment-overview',
  title: 'Experiment overview',
  description: 'Every live experiment and rollout, with what is wrong with it.',
  from: 'now-14d',
  refresh: '15m',
  variables: [variable('application', 'Application', `SELECT DISTINCT app_name\nFROM ${EXPERIMENTS}\nWHERE status = 'Live'\nORDER BY app_name`, true)],
  rows: [
    {
      height: 4,
      panels: [
        stat('Live experiments', 'As Experimenter lists them.', sql(count('NOT TRUE'), 1)),
        stat('Live rollouts', 'As Experimenter lists them.', sql(count('TRUE'), 1)),
        stat('Ending within a week', 'Of those whose end is known.', sql(`SELECT COUNT(*) AS n\n${LIVE} AND DATE_DIFF(e.end_date, CURRENT_DATE(), DAY) BETWEEN 0 AND 7`, 1)),
      ],
    },
    {
      height: 16,
      panels: [
        table(
          'Health',
          'Numbers of the range. Sample ratio mismatch: a branch is 5 % or more off its ratio, beyond chance (p < 0.001). Many unenrollments: more than 10 %. Few enrollments: under 1,000 after three days.',
          sql(health(), 1),
          {
            overrides: [
              field('experiment', { links: [link], 'custom.width': 320 }),
              field('health', { 'custom.width': 170 }),
              field('enrollments', { 'custom.width': 110 }),
              field('unenrollment_rate', { 'custom.width': 145, unit: 'percentunit', thresholds: thresholds(['green'], ['yellow', 0.01], ['orange', 0.05], ['red', 0.1]), 'custom.displayMode': 'color-text' }),
              field('deviation', { 'custom.width': 90, unit: 'percentunit', thresholds: thresholds(['green'], ['red', 0.05]), 'custom.displayMode': 'color-text' }),
              field('kind', { 'custom.width': 95 }),
              field('started', { 'custom.width': 110 }),
            ],
          }
        ),
      ],
    },
    {
      height: 8,
      panels: [
        series('Enrollments per hour, of all', 'Five-minute windows, a few minutes late.', sql(hourly('experiment_enrollment_overall'), 0), { name: 'all' }),
        series('Unenrollments per hour, of all', 'Five-minute windows, a few minutes late.', sql(hourly('experiment_unenrollment_overall'), 0), { name: 'all' }),
      ],
    },
  ],
});
