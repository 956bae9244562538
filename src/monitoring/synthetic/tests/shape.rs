//! What rows look like.

use std::collections::{BTreeMap, BTreeSet};

use weir_plan::extent::{DAY, HOUR};

use super::*;

#[test]
fn another_seed_makes_other_rows() {
    let rows =
        |seed| sorted(&Synthetic::new(SyntheticConfig { seed, ..small() }).raw_windows(day("2024-05-14")).unwrap());
    assert_eq!(rows(1), rows(1));
    assert_ne!(rows(1), rows(2));
}

#[test]
fn firefox_desktop_tells_what_telemetry_tells_but_for_rows_without_a_branch() {
    let (_, memory) = installed(small(), NOW);
    let desktop = memory.rows(&Fact::Enrollment.live_table(apps::FIREFOX_DESKTOP));
    let telemetry = memory.rows(&Fact::Enrollment.live_table(apps::TELEMETRY));
    let has_branch = arrow::compute::is_not_null(telemetry.column_by_name("branch").unwrap()).unwrap();
    assert_eq!(desktop.column_by_name("branch").unwrap().null_count(), 0);
    assert!(has_branch.false_count() > 0);
    let told = arrow::compute::filter_record_batch(&telemetry, &has_branch).unwrap();
    let without_type = |rows: &RecordBatch| {
        let columns: Vec<usize> = (0..rows.num_columns()).filter(|at| *at != 2).collect();
        sorted(&rows.project(&columns).unwrap())
    };
    assert_eq!(without_type(&desktop), without_type(&told));
    let types = desktop.column_by_name("type").unwrap().as_string::<i32>();
    assert!(types.iter().all(|text| text == Some("nimbus_events")));
}

#[test]
fn a_broken_split_shows_in_the_sums() {
    let synthetic = Synthetic::new(small());
    let broken: Vec<_> = synthetic.recipes().iter().filter(|recipe| recipe.broken_split).collect();
    assert!(!broken.is_empty());
    for recipe in broken {
        let mut sums: BTreeMap<String, i64> = BTreeMap::new();
        let start = recipe.start.date();
        for day in start.iter_days().take(4) {
            let rows = synthetic.raw_windows(day).unwrap();
            let column = |name: &str| rows.column_by_name(name).unwrap().slice(0, rows.num_rows());
            let (slugs, branches) = (column("experiment"), column("branch"));
            let counts = column("enroll_count");
            for row in 0..rows.num_rows() {
                if slugs.as_string::<i32>().value(row) == recipe.slug && branches.is_valid(row) {
                    let branch = branches.as_string::<i32>().value(row).to_owned();
                    *sums.entry(branch).or_default() += counts.as_primitive::<Int64Type>().value(row);
                }
            }
        }
        let total: i64 = sums.values().sum();
        let share = draw::real(sums["control"]) / draw::real(total);
        assert!((share - 0.56).abs() < 0.015, "{share} of {total}");
        assert!(draw::real(total) / recipe.enrollments > 0.5, "60 % enrol in the first three days");
    }
}

/// Logical bytes of rows: eight for a number or time, two and the length for a text.
fn logical_bytes(rows: &RecordBatch) -> usize {
    let column = |column: &arrow::array::ArrayRef| match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().iter().flatten().map(|text| text.len() + 2).sum::<usize>(),
        _ => 8 * rows.num_rows(),
    };
    rows.columns().iter().map(column).sum()
}

#[test]
fn a_full_day_has_the_contracts_size_and_rhythm() {
    let synthetic = Synthetic::new(SyntheticConfig::demo(at(NOW)));
    let rows = synthetic.raw_windows(day("2024-05-14")).unwrap();
    assert!((45_000..70_000).contains(&rows.num_rows()), "{} rows", rows.num_rows());
    let bytes = logical_bytes(&rows) / rows.num_rows();
    assert!((165..200).contains(&bytes), "{bytes} bytes a row");

    let midnight = config::start_of(day("2024-05-14"));
    let running = |recipe: &&Recipe| recipe.start < midnight && recipe.end.micros() > midnight.micros() + DAY;
    let all_day: Vec<&Recipe> = synthetic.recipes().iter().filter(running).collect();
    let cells: usize = all_day.iter().map(|recipe| recipe.branches.len() * recipe.channels.len() * 288).sum();
    let slugs: BTreeSet<&str> = all_day.iter().map(|recipe| recipe.slug.as_str()).collect();
    let experiments = rows.column_by_name("experiment").unwrap().as_string::<i32>();
    let branches = rows.column_by_name("branch").unwrap();
    let filled = (0..rows.num_rows()).filter(|row| branches.is_valid(*row) && slugs.contains(experiments.value(*row)));
    let fill = draw::real_count(filled.count()) / draw::real_count(cells);
    assert!((0.38..0.55).contains(&fill), "{fill}");

    let exposures = |from: i64, to: i64| {
        draw::real(sum(
            &between(&rows, midnight.micros() + from * HOUR, midnight.micros() + to * HOUR),
            "exposure_count",
        ))
    };
    let ratio = exposures(15, 17) / exposures(3, 5);
    assert!((2.6..3.8).contains(&ratio), "busiest to quietest hours: {ratio}");
}
