WITH flow AS (
  SELECT
    window_start AS `time`,
    experiment,
    branch,
    SUM(search_count) AS search_count
  FROM
    `moz-fx-data-shared-prod.telemetry_derived.experiment_search_aggregates_live_v1`
  GROUP BY
    1,
    2,
    3
)
SELECT
  `time`,
  experiment,
  branch,
  SUM(search_count) OVER running AS value
FROM
  flow
WINDOW
  running AS (
    PARTITION BY
      experiment,
      branch
    ORDER BY
      `time`
    ROWS BETWEEN
      UNBOUNDED PRECEDING
      AND CURRENT ROW
  )
