//! Named cases of what is fetched, and when: short histories that are written down. Every answer in
//! them is judged as those of random histories are.

use std::collections::BTreeSet;

use std::time::Duration;

use weir_plan::descriptor::{Regime, State};
use weir_plan::extent::{DAY, MINUTE, SECOND};
use weir_plan::{Extent, Query, Scope, Step, Timestamp};

use crate::History;
use crate::engine::{Answer, Asked, Fate};
use crate::source::{Kind, Source};
use crate::world::Shape;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text, Timestamp::MIN).unwrap()
}

/// A question for buckets that takes nothing stale.
fn asked(from: &str, to: &str, step: &str) -> Asked {
    let step: Step = step.parse().unwrap();
    let mut query = Query::new("");
    query.range = Some(Extent::new(at(from), at(to)).unwrap());
    query.step = Some(step);
    query.cache.max_stale = Some(Duration::ZERO);
    Asked { query, shape: Shape::Buckets(step), groups: 3, delay: Duration::ZERO, meanwhile: None, fate: Fate::Done }
}

impl History<'_> {
    fn until(&mut self, moment: &str) {
        self.advance(at(moment).micros() - self.now.micros());
    }

    fn answer(&mut self, asked: &Asked) -> Answer {
        self.put(asked).unwrap()
    }

    /// Asks, and checks the ranges of the jobs, which are written `from to`.
    fn check(&mut self, asked: &Asked, jobs: &[&str]) -> Answer {
        let answer = self.answer(asked);
        let expected = jobs.iter().map(|job| {
            let (from, to) = job.split_once(' ').unwrap();
            Extent::new(at(from), at(to)).unwrap()
        });
        let found: Vec<_> = answer.jobs.iter().map(|(job, _)| job.extent.unwrap()).collect();
        assert_eq!(found, expected.collect::<Vec<_>>(), "at {}", self.now);
        answer
    }
}

#[test]
fn a_cold_week_is_one_job_then_none_then_one_for_today_and_a_fortnight_adds_its_first_week() {
    let source = Source::new(Kind::Days);
    let mut history = History::new(&source);
    history.until("2024-03-10T12:00:00Z");
    let week = asked("2024-03-03", "2024-03-10T12:00:00Z", "5m");
    history.check(&week, &["2024-03-03 2024-03-11"]);
    history.check(&week, &[]);
    history.advance(2 * MINUTE);
    history.check(&week, &["2024-03-10 2024-03-11"]);
    history.check(&asked("2024-02-25", "2024-03-10T12:00:00Z", "5m"), &["2024-02-25 2024-03-03"]);
}

#[test]
fn holes_are_fetched_and_what_is_there_is_not() {
    let source = Source::new(Kind::Days);
    let mut history = History::new(&source);
    history.check(&asked("2024-03-04", "2024-03-05", "5m"), &["2024-03-04 2024-03-05"]);
    history.check(&asked("2024-03-06", "2024-03-07", "5m"), &["2024-03-06 2024-03-07"]);
    let holes = ["2024-03-03 2024-03-04", "2024-03-05 2024-03-06", "2024-03-07 2024-03-08"];
    history.check(&asked("2024-03-03", "2024-03-08", "5m"), &holes);
}

#[test]
fn a_day_is_fetched_again_at_noon_that_was_asked_for_just_after_midnight() {
    let source = Source::new(Kind::Days);
    let mut history = History::new(&source);
    history.until("2024-03-11T00:10:00Z");
    history.check(&asked("2024-03-11", "2024-03-11T00:10:00Z", "1d"), &["2024-03-11 2024-03-12"]);
    history.until("2024-03-11T12:00:00Z");
    history.check(&asked("2024-03-11", "2024-03-11T12:00:00Z", "1d"), &["2024-03-11 2024-03-12"]);
}

#[test]
fn over_midnight_what_crossed_the_flip_is_fetched_again_and_the_comparisons_differ_for_the_second_day_back() {
    let check = |kind, second_back: Regime, after: &str| {
        let source = Source::new(kind);
        let mut history = History::new(&source);
        history.until("2024-03-10T12:00:00Z");
        let days = |to| asked("2024-03-06", to, "1d");
        let answer = history.check(&days("2024-03-10T12:00:00Z"), &["2024-03-06 2024-03-11"]);
        let regimes: Vec<_> = answer.pieces.iter().map(|piece| piece.segment.settling.unwrap().regime).collect();
        assert_eq!(regimes, [Regime::Daily, Regime::Daily, second_back, Regime::Live, Regime::Live], "{kind:?}");
        history.until("2024-03-11T00:00:10Z");
        history.check(&days("2024-03-11T00:00:10Z"), &[after]);
    };
    // The seam of the day before dies; by date, what waited for its time is final as it is.
    check(Kind::AfterInstant { grain: true }, Regime::Seam(at("2024-03-08")), "2024-03-08 2024-03-12");
    check(Kind::ByDate { dates: false }, Regime::Daily, "2024-03-09 2024-03-12");
}

#[test]
fn a_live_day_is_looked_at_once_more_and_served_meanwhile() {
    let source = Source::new(Kind::ByDate { dates: false });
    let mut history = History::new(&source);
    let mut day = asked("2024-03-10", "2024-03-11", "1h");
    let jobs = |history: &History<'_>| history.world.jobs();
    history.until("2024-03-11T00:30:00Z");
    history.check(&day, &["2024-03-10 2024-03-11"]);
    history.until("2024-03-11T02:00:00Z");
    day.query.cache.max_stale = None;
    let before = jobs(&history);
    history.check(&day, &[]);
    assert_eq!(jobs(&history) - before, 1, "behind the answer");
    history.until("2024-03-11T23:59:00Z");
    history.check(&day, &[]);
    assert_eq!(jobs(&history) - before, 1, "once");
}

#[test]
fn the_empty_answer_of_a_missing_daily_partition_does_not_become_final() {
    let source = Source::new(Kind::ByDate { dates: false });
    let mut history = History::new(&source);
    history.world.delete(at("2024-03-09"), history.now);
    history.until("2024-03-11T00:00:10Z");
    let day = asked("2024-03-09", "2024-03-10", "1d");
    let answer = history.check(&day, &["2024-03-09 2024-03-10"]);
    assert_eq!((answer.lines().len(), answer.pieces[0].segment.settling.unwrap().state), (0, State::Pending));
    history.advance(MINUTE);
    history.check(&day, &[]);
    history.until("2024-03-14T00:00:00Z");
    history.check(&day, &["2024-03-09 2024-03-10"]);
    history.world.rewrite(at("2024-03-09"), 5, history.now);
    history.until("2024-03-14T06:00:00Z");
    let answer = history.check(&day, &["2024-03-09 2024-03-10"]);
    assert_eq!(answer.pieces[0].segment.settling.unwrap().state, State::Final);
    assert!(!answer.lines().is_empty());
    history.until("2024-03-20T00:00:00Z");
    history.check(&day, &[]);
}

#[test]
fn an_empty_final_day_is_remembered() {
    let source = Source::new(Kind::Days);
    let mut history = History::new(&source);
    history.world.delete(at("2024-03-05"), history.now);
    let day = asked("2024-03-05", "2024-03-06", "5m");
    assert_eq!(history.check(&day, &["2024-03-05 2024-03-06"]).lines(), []);
    history.advance(DAY);
    history.check(&day, &[]);
}

#[test]
fn a_backfill_is_fetched_again_and_nothing_else() {
    let source = Source::new(Kind::Days);
    let mut history = History::new(&source);
    let fortnight = asked("2024-02-25", "2024-03-09", "1h");
    history.check(&fortnight, &["2024-02-25 2024-03-09"]);
    history.world.rewrite(at("2024-02-29"), 3, history.now.plus(Duration::from_mins(1)));
    history.advance(20 * MINUTE);
    history.check(&fortnight, &["2024-02-29 2024-03-01"]);
}

#[test]
fn a_job_of_before_midnight_reads_the_sides_of_its_plan_and_serves_nobody_after_it() {
    let source = Source::new(Kind::AfterInstant { grain: true });
    let mut history = History::new(&source);
    history.until("2024-03-10T23:59:59Z");
    let mut late = asked("2024-03-08", "2024-03-09", "1d");
    late.delay = Duration::from_secs(2);
    history.check(&late, &["2024-03-08 2024-03-09"]);
    history.advance(3 * SECOND);
    late.delay = Duration::ZERO;
    history.check(&late, &["2024-03-08 2024-03-09"]);
}

#[test]
fn a_failed_job_leaves_nothing_and_the_next_question_runs() {
    let source = Source::new(Kind::Days);
    let mut history = History::new(&source);
    let mut day = asked("2024-03-05", "2024-03-06", "5m");
    day.fate = Fate::Failed;
    assert!(history.put(&day).is_none());
    day.fate = Fate::Done;
    history.check(&day, &["2024-03-05 2024-03-06"]);
}

#[test]
fn another_scope_or_step_has_jobs_of_its_own() {
    let source = Source::new(Kind::Days);
    let mut history = History::new(&source);
    let mut day = asked("2024-03-05", "2024-03-06", "5m");
    let all = history.check(&day, &["2024-03-05 2024-03-06"]).lines();
    day.query.scope = Scope("somebody".into());
    day.groups = 2;
    assert_ne!(history.check(&day, &["2024-03-05 2024-03-06"]).lines(), all);
    history.check(&asked("2024-03-05", "2024-03-06", "15m"), &["2024-03-05 2024-03-06"]);
}

#[test]
fn a_month_over_the_flip_is_a_seam_and_lives_until_midnight() {
    let source = Source::new(Kind::ByDate { dates: false });
    let mut history = History::new(&source);
    let month = asked("2024-03-02", "2024-03-10", "1M");
    let answer = history.check(&month, &["2024-03-01 2024-04-01"]);
    let settling = answer.pieces[0].segment.settling.unwrap();
    assert_eq!((settling.regime, settling.ends), (Regime::Seam(at("2024-03-09")), Some(at("2024-03-11"))));
    history.until("2024-03-11T00:00:00Z");
    history.check(&month, &["2024-03-01 2024-04-01"]);
}

#[test]
fn a_step_of_seven_hours_is_cut_at_its_first_bucket_of_a_day() {
    let source = Source::new(Kind::Days);
    let mut history = History::new(&source);
    let evening = asked("2024-03-05T22:00:00Z", "2024-03-06T02:00:00Z", "7h");
    history.check(&evening, &["2024-03-05T06:00:00Z 2024-03-06T03:00:00Z"]);
    history.check(
        &asked("2024-03-05T22:00:00Z", "2024-03-06T04:00:00Z", "7h"),
        &["2024-03-06T03:00:00Z 2024-03-07T00:00:00Z"],
    );
}

#[test]
fn a_group_of_one_segment_alone_is_in_the_answer() {
    let source = Source::new(Kind::Dates);
    let mut history = History::new(&source);
    history.world.rewrite(at("2024-03-05"), 3, history.now);
    let answer = history.check(&asked("2024-03-04", "2024-03-06", "1d"), &["2024-03-04 2024-03-06"]);
    let groups: Vec<_> = answer.lines().iter().map(|line| (line.0, line.1)).collect();
    let (one, other) = (at("2024-03-04"), at("2024-03-05"));
    assert_eq!(groups, [(one, 0), (one, 1), (one, 2), (other, 0)]);
}

#[test]
fn half_a_day_of_a_date_is_the_whole_day() {
    let source = Source::new(Kind::Dates);
    let mut history = History::new(&source);
    let half = asked("2024-03-05T06:00:00Z", "2024-03-05T18:00:00Z", "1d");
    assert_eq!(history.check(&half, &["2024-03-05 2024-03-06"]).lines().len(), 3);
}

#[test]
fn another_text_of_a_view_is_another_template() {
    let kind = Kind::ByDate { dates: false };
    let text = kind.view_text().unwrap();
    let sql = "SELECT $__timeGroup(ts, 1h) AS t, SUM(v) FROM `p.d.v` WHERE $__timeFilter(ts) GROUP BY 1";
    let digest = |text: &str| kind.template(sql, Some(text)).digest().to_owned();
    assert_eq!(digest(&text), digest(&text));
    assert_ne!(digest(&text), digest(&text.replace("SELECT ts, g, v", "SELECT ts, g, v + 1 AS v")));
}

#[test]
fn a_predicate_beside_the_time_filter_is_kept() {
    let sql = "SELECT $__timeGroup(ts, 1h) AS t, SUM(v) FROM `p.d.live` \
        WHERE submission_date >= '2024-03-01' AND $__timeFilter(ts) GROUP BY 1";
    let day = Extent::new(at("2024-03-05"), at("2024-03-06")).unwrap();
    let text =
        Kind::Days.template(sql, None).text(day, "1h".parse().unwrap(), at("2024-03-10"), &BTreeSet::new()).unwrap();
    assert!(text.contains("WHERE submission_date >= '2024-03-01' AND ts >= TIMESTAMP '2024-03-05"), "{text}");
}
