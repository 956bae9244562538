//! Random texts over everything that is kept.

use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use weir::monitoring::synthetic::PROJECT;

/// A view, its column of time, what it is grouped by, and what is counted.
const VIEWS: [(&str, &str, &[&str], &str); 8] = [
    ("telemetry.experiment_enrollment_overall", "time", &["experiment", "branch", "normalized_channel"], "value"),
    ("telemetry.experiment_unenrollment_overall", "time", &["experiment", "branch", "normalized_channel"], "value"),
    (
        "telemetry.experiment_enrollment_other_events_overall",
        "time",
        &["experiment", "branch", "normalized_channel", "event"],
        "value",
    ),
    ("telemetry.experiment_enrollment_cumulative_population_estimate", "time", &["experiment", "branch"], "value"),
    ("telemetry.experiment_cumulative_search_count", "time", &["experiment", "branch"], "value"),
    (
        "telemetry_derived.experiment_search_aggregates_live_v1",
        "window_start",
        &["experiment", "branch", "window_end"],
        "cumulative_ad_clicks_count",
    ),
    ("telemetry.experiment_crash_counts", "time", &["experiment", "branch", "crash_process_type"], "value"),
    ("telemetry.experiment_enrollment_daily_active_population", "time", &["experiment", "branch"], "value"),
];

const AGGREGATES: [&str; 6] =
    ["SUM(VALUE)", "MAX(VALUE)", "MIN(VALUE)", "COUNT(*)", "COUNT(DISTINCT branch)", "AVG(VALUE)"];

/// A text, the days that it is asked for, and its step.
pub(super) struct Asked {
    pub(super) sql: String,
    pub(super) days: u64,
    pub(super) step: &'static str,
}

/// Texts about an experiment, the same for the same seed.
pub(super) struct Texts<'a> {
    random: ChaCha8Rng,
    slug: &'a str,
}

impl<'a> Texts<'a> {
    pub(super) fn new(seed: u64, slug: &'a str) -> Self {
        Self { random: ChaCha8Rng::seed_from_u64(seed), slug }
    }

    /// A number below another.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.random.random_range(0..end)
    }
}

impl Iterator for Texts<'_> {
    type Item = Asked;

    fn next(&mut self) -> Option<Asked> {
        let sql = text(&mut self.random, self.slug);
        let days = self.random.random_range(1..5);
        Some(Asked { sql, days, step: ["5m", "1h", "1d"].choose(&mut self.random)? })
    }
}

fn text(random: &mut ChaCha8Rng, slug: &str) -> String {
    let (view, time, groups, value) = *VIEWS.choose(random).unwrap();
    let view = format!("`{PROJECT}.{view}`");
    let aggregate = AGGREGATES.choose(random).unwrap().replace("VALUE", value);
    let group = groups.choose(random).unwrap();
    let mut filters = vec![format!("$__timeFilter({time})")];
    let more = [
        "branch IS NOT NULL".to_owned(),
        format!("experiment = '{slug}'"),
        format!("experiment != '{slug}'"),
        format!("{value} > 3"),
        "branch IN ('control', 'treatment-a')".to_owned(),
    ];
    filters.extend(more.into_iter().filter(|_| random.random_bool(0.3)));
    let filters = filters.join(" AND ");
    let step = ["$__interval", "1h", "6h", "1d"].choose(random).unwrap();
    let bucket = format!("$__timeGroup({time}, {step})");
    let having = if random.random_bool(0.2) { format!(" HAVING {aggregate} > 1") } else { String::new() };
    let grouped = format!(
        "SELECT {bucket} AS bucket, {group}, {aggregate} AS n FROM {view} WHERE {filters} GROUP BY 1, 2{having}"
    );
    match random.random_range(0..7) {
        0 | 1 => grouped,
        2 => format!("SELECT {group}, {aggregate} AS n FROM {view} WHERE {filters} GROUP BY 1{having}"),
        3 => format!("SELECT {time}, {group}, {value} FROM {view} WHERE {filters}"),
        4 => format!(
            "SELECT bucket, {group}, SUM(n) OVER (PARTITION BY {group} ORDER BY bucket \
             ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS running FROM ({grouped})"
        ),
        5 => format!(
            "WITH g AS ({grouped}) SELECT a.bucket, a.{group}, a.n, b.n AS m FROM g AS a JOIN g AS b USING (bucket)"
        ),
        _ => format!(
            "SELECT {group}, {value} FROM {view} WHERE {filters} \
             QUALIFY ROW_NUMBER() OVER (PARTITION BY {groups}, DATE({time}) ORDER BY {time} DESC) = 1",
            groups = groups.join(", ")
        ),
    }
}
