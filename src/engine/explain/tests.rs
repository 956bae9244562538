//! What an explanation says of states and of bills that are known.

use serde_json::json;
use weir_plan::descriptor::State;
use weir_plan::{Mode, Query};

use super::*;
use crate::clock::Clock as _;
use crate::engine::parts::tests::{BUCKETS, Place, at, days_before, query};

fn learned(explained: &Explanation) -> Vec<Option<u64>> {
    explained.segments.iter().map(|segment| segment.bytes_learned).collect()
}

#[tokio::test]
async fn states_are_those_of_the_parts_and_bills_are_learned_from_jobs() {
    let place = Place::new();
    let now = place.clock.now();
    let days = query(BUCKETS, days_before(now, 3), now, "1h");
    let cold = place.engine.explain(&days).await.unwrap();
    let [job] = &*cold.segments else { panic!("one job, not {cold:?}") };
    assert_eq!((cold.mode, job.status, job.state), (Mode::Delta, Status::Miss, Some(State::Open)));
    let settled = |from, to, state| Settled { range: Extent::new(at(from), at(to)).unwrap(), state };
    let expected =
        [settled("2024-01-18", "2024-01-21", State::Final), settled("2024-01-21", "2024-01-22", State::Open)];
    assert_eq!(job.states, expected);
    assert_eq!(learned(&cold), [None], "nothing has run");
    assert_eq!(learned(&place.engine.explain(&days).await.unwrap()), [None], "a dry run is no bill");

    let billed = place.ask(&days).await.provenance.bytes_billed;
    let warm = place.engine.explain(&days).await.unwrap();
    assert_eq!((warm.segments[0].status, learned(&warm)), (Status::Hit, vec![Some(billed)]));
    let settled = query(BUCKETS, days_before(now, 3), days_before(now, 1), "1h");
    let explained = place.engine.explain(&settled).await.unwrap();
    let [segment] = &*explained.segments else { panic!("one piece, not {explained:?}") };
    assert_eq!((segment.state, &*segment.states, segment.bytes_learned), (Some(State::Final), &[][..], None));
    let json = json!(segment);
    assert_eq!((&json["state"], json.get("states"), json.get("bytes_learned")), (&json!("final"), None, None));
}

#[tokio::test]
async fn a_whole_text_has_no_state_and_a_dry_run_does_not_take_the_place_of_its_bill() {
    let place = Place::new();
    let whole = Query::new("SELECT COUNT(*) AS n FROM `p.d.t`");
    for _ in 0..2 {
        assert_eq!(learned(&place.engine.explain(&whole).await.unwrap()), [None], "nothing has run");
    }
    let billed = place.ask(&whole).await.provenance.bytes_billed;
    for _ in 0..2 {
        let explained = place.engine.explain(&whole).await.unwrap();
        assert_eq!((learned(&explained), explained.segments[0].state), (vec![Some(billed)], None));
        let json = json!(explained.segments[0]);
        assert_eq!((&json["bytes_learned"], json.get("state")), (&json!(billed), None));
    }
}
