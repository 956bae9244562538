//! P11 for random texts over everything that is kept: local is direct, at the same instant.

use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;

/// Texts in a usual run; `PROPTEST_CASES` says how many there are in a long one.
const TEXTS: u64 = 60;

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

#[tokio::test]
async fn random_texts_are_answered_here_as_by_the_source() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(TEXTS);
    let seed = std::env::var("PROPTEST_RNG_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let place = place();
    let mut engine = place.local_engine();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut local, mut rows) = (0, 0);
    for number in 0..cases {
        if number % 10 == 9 {
            // Rows that are late show within an hour: at the same instant only what is read anew is the same.
            place.clock.set(place.clock.now().plus(hours(random.random_range(0..4))).plus(SLOT_AND_MORE));
            engine = place.local_engine();
        }
        let sql = text(&mut random, &place.slug);
        let query = place.panel(&sql, random.random_range(1..5), ["5m", "1h", "1d"].choose(&mut random).unwrap());
        let answer = match engine.answer(&query, Door::Export).await {
            Ok(answer) => answer,
            Err(error) => panic!("{error:?}\n{sql}"),
        };
        local += u64::from(answer.provenance.mode == Mode::Local);
        let expected = place.direct(&answer).await;
        rows += expected.num_rows();
        let when = format!("{number} at {}: {sql}\n{}", place.clock.now(), answer.executed_sql);
        assert!(answer.batches.has_same_rows(&expected).unwrap(), "{when}");
    }
    assert_eq!(local, cases, "all are answered here");
    assert!(rows > 0);
}
