use arrow::array::StringArray;
use weir_plan::extent::{DAY, MINUTE};
use weir_plan::local::Total;

use super::*;

/// `experiment`, `branch` and `channel` with counts of `enroll` and `leave` in a window.
type Row = (i64, &'static str, &'static str, Option<i64>, Option<i64>);

fn spec() -> RunningTotal {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    RunningTotal {
        table: "p.d.population".parse().unwrap(),
        time_column: "time".into(),
        end_column: None,
        dimensions: names(&["branch"]),
        measures: vec![],
        column: vec![Total { name: "value".into(), plus: names(&["enroll"]), minus: names(&["leave"]) }],
    }
}

fn batches(rows: &[Row]) -> Batches {
    let schema = Arc::new(Schema::new(vec![
        timestamp(TIME),
        Field::new("branch", DataType::Utf8, true),
        Field::new("channel", DataType::Utf8, true),
        Field::new("enroll", DataType::Int64, true),
        Field::new("leave", DataType::Int64, true),
    ]));
    let times: Vec<i64> = rows.iter().map(|row| row.0).collect();
    let batch = RecordBatch::try_new(
        Arc::clone(&schema),
        vec![
            Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")),
            Arc::new(rows.iter().map(|row| Some(row.1)).collect::<StringArray>()),
            Arc::new(rows.iter().map(|row| Some(row.2)).collect::<StringArray>()),
            Arc::new(rows.iter().map(|row| row.3).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| row.4).collect::<Int64Array>()),
        ],
    );
    Batches::new(schema, vec![batch.unwrap()]).unwrap()
}

fn totals(days: &[Batches], contents: &[u64], totals: &mut Totals, wanted: usize) -> Vec<(i64, Vec<Option<i64>>)> {
    let start = |place: usize| Timestamp::saturating(i64::try_from(place).unwrap() * DAY);
    let days: Vec<Day<'_>> = days
        .iter()
        .zip(contents)
        .enumerate()
        .map(|(place, (batches, content))| Day { start: start(place), content: *content, step: 5 * MINUTE, batches })
        .collect();
    let changed = totals.follow(&days, start(wanted)).unwrap();
    let values = |rows: &RecordBatch| rows.column(rows.num_columns() - 1).as_primitive::<Int64Type>().iter().collect();
    changed.iter().map(|(day, rows)| (day.micros() / DAY, values(rows))).collect()
}

/// Three channels that tie and three windows: 112, 224, 336, where rows summed up one by one say 99, 211,
/// 323.
#[test]
fn rows_that_tie_count_once() {
    let window = |window: i64| {
        [("release", 100), ("beta", 11), ("nightly", 1)]
            .map(|(channel, count)| (window * 5 * MINUTE, "control", channel, Some(count), Some(0)))
    };
    let day = batches(&[window(0), window(1), window(2)].concat());
    let mut all = Totals::new(&spec(), day.schema()).unwrap();
    assert_eq!(totals(&[day], &[1], &mut all, 0), [(0, vec![Some(112), Some(224), Some(336)])]);
}

#[test]
fn a_day_that_changes_changes_what_comes_after_it_and_nothing_else() {
    let day = |enroll: i64, leave: i64| batches(&[(0, "a", "release", Some(enroll), Some(leave))]);
    let mut all = Totals::new(&spec(), day(0, 0).schema()).unwrap();
    let days = [day(10, 1), day(20, 2), day(30, 3)];
    assert_eq!(totals(&days, &[1, 2, 3], &mut all, 0), [(0, vec![Some(9)]), (1, vec![Some(27)]), (2, vec![Some(54)])]);
    assert_eq!(totals(&days, &[1, 2, 3], &mut all, 0), []);
    let days = [day(10, 1), day(200, 2), day(30, 3)];
    assert_eq!(totals(&days, &[1, 4, 3], &mut all, 0), [(1, vec![Some(207)]), (2, vec![Some(234)])]);
    let days = [day(10, 1), day(200, 2), day(31, 3)];
    assert_eq!(totals(&days, &[1, 4, 5], &mut all, 0), [(2, vec![Some(235)])]);
    // Days that nobody asks for are followed, and made when they are.
    let mut late = Totals::new(&spec(), days[0].schema()).unwrap();
    assert_eq!(totals(&days, &[1, 4, 5], &mut late, 2), [(2, vec![Some(235)])]);
    assert_eq!(totals(&days, &[1, 4, 5], &mut late, 1), [(1, vec![Some(207)])]);
}

#[test]
fn a_null_adds_nothing() {
    let day = batches(&[
        (0, "a", "release", None, Some(1)),
        (5 * MINUTE, "a", "release", Some(5), Some(1)),
        (10 * MINUTE, "a", "release", Some(5), None),
    ]);
    let mut all = Totals::new(&spec(), day.schema()).unwrap();
    assert_eq!(totals(&[day], &[1], &mut all, 0), [(0, vec![None, Some(4), Some(4)])]);
    let beyond = batches(&[(0, "a", "release", Some(i64::MAX), Some(-1))]);
    let days = [Day { start: Timestamp::saturating(0), content: 9, step: 1, batches: &beyond }];
    assert!(all.follow(&days, Timestamp::saturating(0)).unwrap_err().message().contains("beyond INT64"));
}
