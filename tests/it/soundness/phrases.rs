//! The phrases of random texts, with their weights. The first of a slot is the plainest, to which a
//! failure shrinks; the last ones are those that forbid parts, or seem to.
//!
//! `{c}` is the time column, `{q}` what stands before other columns, `{l}` a label of a joined table, `{i}`
//! the interval, `{b}` the bucket and `{f}` the time filter; `{F}` is a filter of another SELECT.

/// Phrases with their weights.
pub(super) type Slot = &'static [(u32, &'static str)];

/// The bucket, or what stands in its place.
pub(super) const BUCKETS: Slot = &[
    (80, "{b} AS time"),
    (6, "{b} AS ts"),
    (3, "{b} AS n"),
    (3, "{b} AS branch"),
    (1, "{b}"),
    (1, "$__timeGroup({q}at, {i}) AS time"),
    (1, "TIMESTAMP_TRUNC({c}, DAY) AS time"),
    (1, "TIMESTAMP_ADD({b}, INTERVAL 1 HOUR) AS time"),
    (1, "{q}x AS time"),
];

/// What rows are grouped by besides the bucket, with a name.
pub(super) const DIMENSIONS: Slot = &[
    (20, "{q}branch AS branch"),
    (4, "{q}branch AS b"),
    (4, "COALESCE({q}branch, 'none') AS branch"),
    (4, "MOD({q}n, 3) AS n"),
    (4, "{q}n > 4 AS big"),
    (4, "CASE WHEN {q}x > 1.5 THEN 'high' ELSE 'low' END AS size"),
    (4, "EXTRACT(HOUR FROM {c}) AS hour"),
    (3, "DATE({q}at) AS ts"),
    (3, "{l} AS label"),
    (2, "DATE({c}) AS date"),
    (2, "'all' AS k"),
    (1, "{c} AS raw"),
    (1, "$__timeGroup({c}, 1d) AS other"),
    (1, "{b} AS again"),
];

/// Aggregates, and windows over them.
pub(super) const AGGREGATES: Slot = &[
    (32, "COUNT(*)"),
    (24, "SUM({q}n)"),
    (16, "AVG({q}x)"),
    (16, "MIN({q}n)"),
    (12, "MAX({q}x)"),
    (16, "COUNT(DISTINCT {q}branch)"),
    (12, "SUM(DISTINCT {q}n)"),
    (12, "COUNTIF({q}n > 3)"),
    (12, "SUM({q}x) / NULLIF(COUNT({q}n), 0)"),
    (8, "STDDEV({q}n)"),
    (12, "MAX({c})"),
    (12, "MIN({q}at)"),
    (8, "LOGICAL_OR({q}n > 8)"),
    (8, "STRING_AGG(DISTINCT {q}branch, ',' ORDER BY {q}branch)"),
    (8, "MAX(IF({q}branch = 'a', {q}n, NULL))"),
    (3, "COUNT(*) / $__interval_ms"),
    (6, "SUM(COUNT(*)) OVER (PARTITION BY {b})"),
    (6, "RANK() OVER (PARTITION BY {b} ORDER BY COUNT(*))"),
    (4, "SUM({q}n) / SUM(SUM({q}n)) OVER (PARTITION BY {b})"),
    (4, "SUM(SUM({q}n)) OVER w"),
    (1, "SUM(COUNT(*)) OVER (ORDER BY {b})"),
    (1, "RANK() OVER (ORDER BY SUM({q}n))"),
    (1, "SUM(COUNT(*)) OVER (PARTITION BY time)"),
    (1, "SUM(COUNT(*)) OVER ()"),
    (1, "COUNT(*) - LAG(COUNT(*)) OVER (ORDER BY {b})"),
    (1, "COUNT(*) / (SELECT COUNT(*) FROM `p.d.flow`)"),
    (1, "COUNT(*) / $__range_s"),
    (1, "MAX($__timeFrom())"),
    (1, "MAX({b})"),
];

/// The name of the first aggregate.
pub(super) const NAMES: Slot = &[(20, "v0"), (2, "n"), (2, "ts"), (2, "branch"), (1, "time")];

/// Conditions; `{f}` stands where it must, or not.
pub(super) const CONDITIONS: Slot = &[
    (90, "{f}"),
    (30, "{f} AND {q}n > 2"),
    (20, "{q}branch IN ('a', 'b') AND {f}"),
    (14, "({f}) AND ({q}n = 1 OR {q}x > 1)"),
    (4, "{f} AND DATE({q}at) <> DATE '2024-01-05'"),
    (4, "{f} AND NOT {q}n = 3"),
    (3, "{f} AND {q}at < {c}"),
    (1, "{f} OR {q}n = 1"),
    (1, "NOT ({f})"),
    (1, "({f}) IS NOT FALSE"),
    (1, "{q}n > 2"),
    (1, "$__timeFilter({q}at)"),
    (1, "$__timeFilter({q}at) AND {f}"),
    (1, "{f} AND {f}"),
    (1, "{c} >= $__timeFrom() AND {c} < $__timeTo()"),
    (1, "{f} AND {q}at < $__timeTo()"),
    (1, "{f} AND {q}branch IN (SELECT branch FROM `p.d.names` WHERE w > 1)"),
    (1, "{f} AND {q}branch IN (SELECT branch FROM `p.d.flow` GROUP BY branch HAVING COUNT(*) > 100)"),
    (1, "{f} AND EXISTS (SELECT 1 FROM `p.d.second` WHERE n > 3)"),
    (1, "{f} AND {q}n > (SELECT AVG(n) FROM `p.d.flow`)"),
    (1, "{f} AND {c} > (SELECT MIN(ts) FROM `p.d.flow` WHERE {F})"),
    (1, "IF({q}n > 3, {f}, TRUE)"),
    (1, "CASE WHEN {f} THEN {q}n > 1 END"),
    (1, "{f} AND {b} > TIMESTAMP '2024-01-05'"),
];

/// What follows GROUP BY.
pub(super) const HAVINGS: Slot = &[
    (60, ""),
    (8, "HAVING COUNT(*) > 2"),
    (6, "HAVING SUM({q}n) > 10 AND MIN({q}x) < 2"),
    (2, "HAVING time IS NOT NULL"),
    (1, "HAVING COUNT(*) > (SELECT COUNT(*) / 40 FROM `p.d.flow`)"),
    (1, "HAVING {b} > TIMESTAMP '2024-01-05'"),
];

/// The window of those who say `w`.
pub(super) const WINDOWS: Slot = &[(4, "WINDOW w AS (PARTITION BY {b})"), (1, "WINDOW w AS (ORDER BY {b})")];

/// What follows windows.
pub(super) const QUALIFIES: Slot = &[
    (80, ""),
    (1, "QUALIFY RANK() OVER (PARTITION BY {b} ORDER BY COUNT(*)) = 1"),
    (1, "QUALIFY RANK() OVER (ORDER BY COUNT(*) DESC) <= 3"),
];

/// The order, and limits.
pub(super) const ORDERS: Slot = &[
    (40, ""),
    (12, "ORDER BY 1"),
    (3, "ORDER BY 2 DESC, 1"),
    (3, "ORDER BY time DESC"),
    (2, "ORDER BY {b}"),
    (2, "ORDER BY COUNT(*), 1"),
    (1, "ORDER BY 1 LIMIT 5"),
    (1, "ORDER BY 1, 2 LIMIT 5 OFFSET 2"),
    (1, "LIMIT 1"),
];

/// What stands round the whole; `{s}` is the text.
pub(super) const WRAPS: Slot = &[
    (120, "{s}"),
    (4, "({s})"),
    (1, "SELECT * FROM ({s})"),
    (1, "SELECT time, MAX(v0) AS v0 FROM ({s}) GROUP BY time"),
    (1, "SELECT MAX(time) AS time, SUM(v0) AS v0 FROM ({s})"),
    (1, "({s}) UNION ALL ({s})"),
    (1, "({s}) UNION DISTINCT ({s})"),
    (1, "WITH z AS ({s}) SELECT * FROM z ORDER BY 1"),
];

/// The first output of raw rows.
pub(super) const TIMES: Slot =
    &[(12, "{c}"), (4, "{c} AS time"), (2, "{c} AS at"), (1, "{q}at AS ts"), (1, "{q}at AS ts, {c} AS u"), (1, "*")];

/// Their other outputs.
pub(super) const COLUMNS: Slot = &[
    (8, "{q}n"),
    (6, "{q}branch"),
    (4, "{q}x * 2 AS y"),
    (3, "{l} AS label"),
    (2, "{q}at AS at2"),
    (1, "SUM({q}n) OVER (PARTITION BY {c}) AS same"),
    (1, "COUNT(*) OVER () AS all_rows"),
    (1, "LAG({q}n) OVER (ORDER BY {c}) AS earlier"),
    (1, "(SELECT MAX(w) FROM `p.d.names`) AS most"),
    (1, "$__timeFrom() AS begin"),
];

/// What follows their condition.
pub(super) const ROW_ORDERS: Slot = &[
    (12, ""),
    (6, "ORDER BY {c}"),
    (4, "ORDER BY 1 DESC"),
    (2, "ORDER BY ts"),
    (1, "ORDER BY {q}x, {c}"),
    (1, "ORDER BY {c} LIMIT 9"),
    (1, "QUALIFY ROW_NUMBER() OVER (PARTITION BY {q}branch ORDER BY {c}) = 1"),
    (1, "GROUP BY 1"),
];
