//! What an answer says of the ranges that were fetched, and of those that are stale.

use std::time::Duration;

use serde_json::json;
use weir_plan::{Query, Ranges};

use super::*;
use crate::app::App;
use crate::cache::StoreSettings;
use crate::clock::Clock;
use crate::engine::parts::tests::{BUCKETS, Place, at, days_before, query};
use crate::engine::parts::views;
use crate::engine::{Engine, EngineSettings};
use crate::source::Source;

fn extent(from: &str, to: &str) -> Extent {
    Extent::new(at(from), at(to)).unwrap()
}

fn ranges<const N: usize>(ranges: [(&str, &str); N]) -> Ranges {
    ranges.into_iter().map(|(from, to)| extent(from, to)).collect()
}

#[tokio::test]
async fn what_was_fetched_is_named_and_nothing_where_all_was_there() {
    let place = Place::new();
    let now = place.clock.now();
    let two_days = query(BUCKETS, days_before(now, 3), days_before(now, 1), "1h");
    let cold = place.ask(&two_days).await.provenance;
    assert_eq!((&cold.fetched, &cold.stale), (&ranges([("2024-01-18", "2024-01-20")]), &Ranges::default()));
    let warm = place.ask(&two_days).await.provenance;
    assert_eq!((&warm.fetched, &warm.stale), (&Ranges::default(), &Ranges::default()));
    let json = json!(warm);
    let named = ["fetched", "stale", "stale_age_s"].map(|name| json.get(name).cloned());
    assert_eq!(named, [None, None, None]);

    let longer = query(BUCKETS, days_before(now, 5), days_before(now, 1), "1h");
    let partial = place.ask(&longer).await;
    let earlier = ranges([("2024-01-16", "2024-01-18")]);
    assert_eq!((partial.provenance.status, &partial.provenance.fetched), (Status::Partial, &earlier));
    let json = json!(partial.provenance);
    assert_eq!(json["fetched"], json!([{"start": "2024-01-16T00:00:00Z", "end": "2024-01-18T00:00:00Z"}]));

    let with_today = query(BUCKETS, days_before(now, 2), now, "1h");
    place.ask(&with_today).await;
    place.advance(Duration::from_mins(6));
    let stale = place.ask(&with_today).await;
    let today = ranges([("2024-01-21", "2024-01-22")]);
    assert_eq!((stale.provenance.status, &stale.provenance.stale), (Status::Stale, &today));
    assert_eq!((&stale.provenance.fetched, stale.provenance.stale_age_s), (&Ranges::default(), Some(360.0)));

    let cold = Answer { provenance: Provenance { stale_age_s: Some(1.0), ..cold }, ..partial.clone() };
    let all = Provenance::together(&[cold, stale, partial]).unwrap();
    assert_eq!(all.fetched, ranges([("2024-01-16", "2024-01-20")]), "neighbours are one");
    assert_eq!((all.stale, all.stale_age_s), (today, Some(360.0)));
}

#[tokio::test]
async fn a_text_that_is_answered_whole_names_its_range() {
    let place = Place::new();
    let mut whole = Query::new("SELECT COUNT(*) AS n FROM `p.d.t` WHERE $__timeFilter(ts)");
    whole.range = Some(extent("2024-01-18", "2024-01-20"));
    let cold = place.ask(&whole).await.provenance;
    assert_eq!((cold.mode, cold.fetched.hull()), (Mode::Whole, cold.range));
    assert!(cold.range.is_some() && place.ask(&whole).await.provenance.fetched.is_empty());
}

#[tokio::test]
async fn the_stale_age_is_that_of_a_live_day_where_today_is_fresh() {
    let place = views::place();
    let mut app = App::new(StoreSettings::of(64 << 20), Arc::clone(&place.clock) as Arc<dyn Clock>, App::GRACE);
    let engine = app.add_source("only", Arc::clone(&place.source) as Arc<dyn Source>, EngineSettings::default());
    let ask = async |engine: &Arc<Engine>, from: &str, now: &str, max_stale: Option<Duration>| {
        let now = at(now);
        place.clock.set(now);
        let mut query = Query::new(
            "SELECT $__timeGroup(time, 1h) AS time, SUM(value) AS value \
             FROM `moz-fx-data-shared-prod.telemetry.experiment_enrollment_overall` \
             WHERE $__timeFilter(time) GROUP BY 1 ORDER BY 1",
        );
        query.range = Some(Extent::new(at(from), now).unwrap());
        query.cache.max_stale = max_stale;
        engine.answer(&query, Door::Export).await.unwrap().provenance
    };
    ask(&engine, "2024-03-10", "2024-03-11T00:50:00Z", Some(Duration::ZERO)).await;
    ask(&engine, "2024-03-11", "2024-03-11T01:34:00Z", Some(Duration::ZERO)).await;
    let answer = ask(&engine, "2024-03-10", "2024-03-11T01:35:00Z", None).await;
    assert_eq!((answer.mode, answer.status), (Mode::Delta, Status::Stale));
    assert_eq!(answer.stale, ranges([("2024-03-10", "2024-03-11")]));
    assert_eq!((answer.age_s, answer.stale_age_s), (60.0, Some(45.0 * 60.0)), "today, and yesterday");
}
