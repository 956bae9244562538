SELECT
  window_start AS `time`,
  experiment,
  branch,
  crash_process_type,
  SUM(crash_count) AS value
FROM
  `moz-fx-data-shared-prod.telemetry.experiment_crash_rates_live`
WHERE
  crash_count > 0
GROUP BY
  ALL
