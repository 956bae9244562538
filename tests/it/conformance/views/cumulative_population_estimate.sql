-- Grouped to one row per experiment, branch and window before the running sum: a window over ties
-- would under-count.
WITH flow AS (
  SELECT
    window_start,
    experiment,
    branch,
    SUM(enroll_count) - SUM(unenroll_count) - SUM(graduate_count) AS net
  FROM
    `moz-fx-data-shared-prod.telemetry_derived.experiment_enrollment_aggregates_live_v1`
  GROUP BY
    window_start,
    experiment,
    branch
)
SELECT
  window_start AS `time`,
  experiment,
  branch,
  SUM(net) OVER (
    PARTITION BY
      experiment,
      branch
    ORDER BY
      window_start
    ROWS BETWEEN
      UNBOUNDED PRECEDING
      AND CURRENT ROW
  ) AS value
FROM
  flow
