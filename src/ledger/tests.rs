//! Sums that hold, whatever makes way; budgets that hold, whatever runs at once.

use std::time::Duration;

use arrow::util::pretty::pretty_format_batches;
use proptest::prelude::*;
use weir_plan::{Error, Kind};

use super::*;

const MIB: u64 = 1 << 20;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text, Timestamp::MIN).unwrap()
}

fn account(source: &str, principal: &str, panel: &str) -> Account {
    Account::new(source, Some(principal), Some("board"), Some(panel))
}

fn open(ledger: &Arc<Ledger>, account: &Account, errand: Errand, now: Timestamp) -> Booking {
    ledger.open(account.clone(), errand, 0, &Budget::default(), now).unwrap()
}

fn kept(bytes: u64) -> Savings {
    Savings::of_whole(&[Part { job_id: "", bytes_processed: bytes, bytes_billed: bytes, saving: Some(Saving::Final) }])
}

fn shown(ledger: &Ledger, filter: &Filter, by: &str) -> Vec<String> {
    let rows = ledger.report(filter, &Dimension::list(by).unwrap()).unwrap();
    let text = pretty_format_batches(&[rows.concat().unwrap()]).unwrap().to_string();
    let cells =
        |line: &str| line.split('|').map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join(" ");
    text.lines().filter(|line| line.starts_with('|')).skip(1).map(cells).collect()
}

#[test]
fn what_ran_and_what_did_not_is_added_up_by_any_dimension() {
    let ledger = Ledger::new(100);
    let (one, two) = (account("prod", "ada", "1"), account("prod", "grace", "2"));
    open(&ledger, &one, Errand::Answer, at("2024-01-01T10:00:00Z")).billed(10 * MIB, 7);
    open(&ledger, &one, Errand::Listing, at("2024-01-01T10:00:00Z")).billed(10 * MIB, 1);
    open(&ledger, &two, Errand::Answer, at("2024-01-02T10:00:00Z")).not_ours();
    drop(open(&ledger, &two, Errand::Refresh, at("2024-01-02T10:00:00Z")));
    ledger.answer(&two, &kept(30 * MIB), at("2024-01-02T11:00:00Z"));
    let check = |by: &str, expected: &[&str]| assert_eq!(shown(&ledger, &Filter::default(), by), expected, "{by}");
    // jobs, failed, billed, slot time, answers, uncached, saved, overhead
    check("", &["2 1 20971520 8 1 31457280 31457280 0"]);
    check("day", &["2024-01-01 2 0 20971520 8 0 0 0 0", "2024-01-02 0 1 0 0 1 31457280 31457280 0"]);
    check("panel", &["board 1 2 0 20971520 8 0 0 0 0", "board 2 0 1 0 0 1 31457280 31457280 0"]);
    check(
        "cause",
        &[
            "answer 1 0 10485760 7 1 31457280 0 0",
            "final 0 0 0 0 0 0 31457280 0",
            "listing 1 0 10485760 1 0 0 0 0",
            "refresh 0 1 0 0 0 0 0 0",
        ],
    );
    check("principal,source", &["ada prod 2 0 20971520 8 0 0 0 0", "grace prod 0 1 0 0 1 31457280 31457280 0"]);
    let days = |from: &str, to: &str| Filter { from: Some(at(from)), to: Some(at(to)), ..Filter::default() };
    assert_eq!(shown(&ledger, &days("2024-01-01T23:00:00Z", "2024-01-02"), ""), ["2 0 20971520 8 0 0 0 0"]);
    assert_eq!(shown(&ledger, &days("2024-01-02", "2024-01-02T00:00:01Z"), ""), ["0 1 0 0 1 31457280 31457280 0"]);
    let other = Filter { source: Some("dev".to_owned()), ..Filter::default() };
    assert_eq!(shown(&ledger, &other, "source"), Vec::<String>::new());
}

#[test]
fn dimensions_are_named_and_given_once() {
    let check = |text: &str, expected: &str| {
        assert!(Dimension::list(text).unwrap_err().message().contains(expected), "{text}");
    };
    check("days", "\"days\" is none of source, board, panel, principal, day, cause");
    check("day, day", "day is given twice");
    assert_eq!(Dimension::list("panel, Board").unwrap(), [Dimension::Panel, Dimension::Board]);
}

#[test]
fn older_days_make_way_and_within_a_day_the_first_to_come_stay() {
    let ledger = Ledger::new(2);
    let bill = |panel: &str, now: &str| {
        open(&ledger, &account("prod", "ada", panel), Errand::Answer, at(now)).billed(MIB, 1);
    };
    bill("1", "2024-01-01");
    bill("2", "2024-01-02");
    bill("3", "2024-01-02");
    bill("4", "2024-01-02");
    bill("2", "2024-01-02");
    bill("9", "2024-01-01");
    let rows = shown(&ledger, &Filter::default(), "panel");
    let of = |name: &str, jobs: u64| format!("{name} {jobs} 0 {} {jobs} 0 0 0 0", jobs * MIB);
    assert_eq!(rows, [of("board 2", 2), of("board 3", 1), of("other other", 3)]);
    assert_eq!(ledger.total().jobs, 6);
}

#[test]
fn a_budget_is_named_with_what_is_used_and_when_it_renews() {
    let ledger = Ledger::new(100);
    let budget = Budget { daily_bytes: Some(100), daily_bytes_per_principal: Some(60), ..Budget::default() };
    let ask = |principal: &str, estimate: u64, now: &str| {
        ledger.open(account("prod", principal, "1"), Errand::Answer, estimate, &budget, at(now))
    };
    ask("ada", 10, "2024-01-01T10:00:00Z").unwrap().billed(50, 0);
    let error = Error::from(ask("ada", 11, "2024-01-01T10:00:00Z").err().unwrap());
    assert_eq!(error.kind(), Kind::TooExpensive);
    assert!(OverBudget::is_cause_of(&error));
    assert_eq!(
        error.message(),
        "the budget of 60 bytes a day of ada at data source prod is used up: 50 bytes are billed today, 0 reserved by \
         running jobs, and this job needs about 11; it renews at 2024-01-02T00:00:00Z"
    );
    ask("grace", 50, "2024-01-01T10:00:00Z").unwrap().billed(50, 0);
    let error = Error::from(ask("eve", 0, "2024-01-01T23:59:59Z").err().unwrap());
    let error = error.message();
    assert!(error.contains("of data source prod") && error.contains("needs more"), "{error}");
    ask("ada", 60, "2024-01-02").unwrap().billed(60, 0);
    assert!(!OverBudget::is_cause_of(&Error::internal("another")));
}

#[test]
fn running_jobs_reserve_and_what_ends_or_fails_gives_back() {
    let ledger = Ledger::new(100);
    let budget = Budget { daily_bytes: Some(100), ..Budget::default() };
    let ask =
        |estimate: u64, now: &str| ledger.open(account("prod", "ada", "1"), Errand::Answer, estimate, &budget, at(now));
    let now = "2024-01-01T10:00:00Z";
    let (first, second) = (ask(60, now).unwrap(), ask(40, now).unwrap());
    assert!(ask(0, now).is_err(), "all is reserved");
    drop(first);
    let third = ask(60, now).unwrap();
    third.not_ours();
    second.billed(30, 0);
    let late = ask(70, now).unwrap();
    let next_day = ask(100, "2024-01-02").unwrap();
    late.billed(70, 0);
    assert!(ask(0, "2024-01-02").is_err(), "yesterday's bill takes nothing of today's reservation");
    next_day.not_ours();
    ask(100, "2024-01-02").unwrap().not_ours();
}

#[test]
fn a_share_takes_about_so_many_keys_and_always_the_same() {
    let taken = |share: f64| {
        let share = Share::new(share).unwrap();
        (0..1000).filter(|number| share.takes(&weir_plan::Key::new(number.to_string()))).collect::<Vec<u32>>()
    };
    assert_eq!((taken(0.0).len(), taken(1.0).len()), (0, 1000));
    let (few, more) = (taken(0.1), taken(0.2));
    assert!((70..130).contains(&few.len()), "{}", few.len());
    assert!(few.iter().all(|number| more.contains(number)));
    assert!(Share::new(0.0).unwrap().is_none() && !Share::ALL.is_none());
    for wrong in [-0.1, 1.1, f64::NAN] {
        assert!(Share::new(wrong).unwrap_err().message().contains("is not a share"));
    }
}

#[test]
fn audits_have_a_budget_of_their_own_and_are_no_principals() {
    let ledger = Ledger::new(100);
    let budget = Budget { daily_bytes_per_principal: Some(10), audit_daily_bytes: Some(20), ..Budget::default() };
    let ask = |errand| ledger.open(account("prod", "ada", "1"), errand, 0, &budget, at("2024-01-01"));
    ask(Errand::Audit).unwrap().billed(20, 0);
    assert!(Error::from(ask(Errand::Audit).err().unwrap()).message().contains("the audits of data source prod"));
    ask(Errand::Answer).unwrap().billed(10, 0);
    assert!(ask(Errand::Answer).is_err());
}

proptest! {
    #[test]
    fn totals_hold_whatever_makes_way(
        capacity in 1_usize..6,
        entries in prop::collection::vec((0_u64..4, 0_usize..4, 0_u64..1000, any::<bool>()), 0..60),
    ) {
        let ledger = Ledger::new(capacity);
        let mut expected = Line::default();
        for (days, panel, bytes, is_answer) in entries {
            let now = at("2024-01-01").plus(Duration::from_hours(24 * days));
            let account = account("prod", "ada", ["1", "2", "3", "4"][panel]);
            if is_answer {
                ledger.answer(&account, &kept(bytes), now);
                expected.answers += 1;
                expected.bytes_uncached += bytes;
                expected.bytes_saved += bytes;
            } else {
                open(&ledger, &account, Errand::Answer, now).billed(bytes, 1);
                expected.jobs += 1;
                expected.bytes_billed += bytes;
                expected.slot_ms += 1;
            }
        }
        prop_assert_eq!(ledger.total(), expected);
        prop_assert!(ledger.books.lock().lines.len() <= capacity);
    }

    #[test]
    fn jobs_at_once_overrun_by_no_more_than_what_was_running(
        jobs in prop::collection::vec((0_u64..60, 0_u64..60, any::<bool>()), 1..40),
    ) {
        let ledger = Ledger::new(100);
        let budget = Budget { daily_bytes: Some(100), ..Budget::default() };
        let (mut running, mut billed, mut over) = (Vec::new(), 0_u64, 0_u64);
        for (estimate, bill, ends) in jobs {
            let opened = ledger.open(account("prod", "ada", "1"), Errand::Answer, estimate, &budget, at("2024-01-01"));
            let reserved: u64 = running.iter().map(|(_, estimate, _)| *estimate).sum();
            prop_assert_eq!(opened.is_ok(), billed + reserved + estimate.max(1) <= 100);
            running.extend(opened.ok().map(|booking| (booking, estimate, bill)));
            if ends && let Some((booking, estimate, bill)) = running.pop() {
                booking.billed(bill, 0);
                billed += bill;
                over += bill.saturating_sub(estimate);
            }
        }
        prop_assert!(billed <= 100 + over, "only what bills more than its estimate overruns");
    }
}
