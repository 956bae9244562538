//! The defects of the five-minute exporter that concern figures: each test makes the exporter's shape
//! of the same rows first, and shows that it fails where ours holds.

use arrow::array::ArrayRef;
use arrow::array::new_null_array;
use weir_plan::TableId;
use weir_plan::extent::MINUTE;

use super::*;

/// What the exporter's 30-minute rule keeps of 5-minute rows: of each half hour one row, whichever
/// comes first, labelled with the end of the half hour.
fn thinned(rows: &Values) -> Values {
    let mut kept = Values::new();
    for ((experiment, time, branch, split), value) in rows {
        let end = (time.div_euclid(30 * MINUTE) + 1) * 30 * MINUTE;
        if !kept.keys().any(|(known, at, ..)| known == experiment && *at == end) {
            kept.insert((experiment.clone(), end, branch.clone(), split.clone()), *value);
        }
    }
    kept
}

fn sum(values: &Values) -> i64 {
    values.values().sum()
}

fn branches(values: &Values, experiment: &str) -> std::collections::BTreeSet<Option<String>> {
    values.keys().filter(|(known, ..)| known == experiment).map(|(_, _, branch, _)| branch.clone()).collect()
}

const FROM: &str = "2024-03-30T00:00:00Z";

/// Enrollments by branch of the last day: 5-minute rows and half hours.
async fn fine_and_half(place: &Place) -> (Values, Values) {
    let fine = fine("experiment_enrollment_overall", By::Branch, FROM);
    let half = SeriesQuery { granularity: Some(Granularity::HalfHour), ..fine.clone() };
    (place.series(&fine).await, place.series(&half).await)
}

#[tokio::test]
async fn defect_1_half_hours_keep_every_branch() {
    let place = place();
    let (fine, half) = fine_and_half(&place).await;
    let upstream = thinned(&fine);
    let listed = place.figures.experiments().await.unwrap();
    let mut lost = 0;
    for slug in listed.keys() {
        assert_eq!(branches(&half, slug), branches(&fine, slug), "{slug}");
        lost += branches(&fine, slug).len() - branches(&upstream, slug).len();
    }
    assert!(lost > 0, "the exporter's rule loses branches");
}

#[tokio::test]
async fn defect_2_half_hours_of_a_flow_are_sums() {
    let place = place();
    let (fine, half) = fine_and_half(&place).await;
    assert!(sum(&thinned(&fine)) < sum(&fine));
    assert_eq!(sum(&half), sum(&fine));
}

#[tokio::test]
async fn defect_3_rows_of_several_events_and_channels_have_one_key_each() {
    let place = place();
    let dataset = "experiment_enrollment_other_events_overall";
    // The exporter selects time, branch and value of rows that are one for each event and channel.
    let rows = place
        .rows(&format!(
            "SELECT experiment, time, branch FROM `{PROJECT}.telemetry.{dataset}` \
             WHERE branch IS NOT NULL AND time >= TIMESTAMP('{FROM}')"
        ))
        .await;
    let ours = place.series(&fine(dataset, By::Branch, FROM)).await;
    assert!(rows.num_rows() > ours.len(), "{} rows for {} keys", rows.num_rows(), ours.len());
    // `values` refuses a key that is there twice.
    let split = place.series(&fine(dataset, By::BranchAndSplit("event".into()), FROM)).await;
    assert_eq!((split.len(), sum(&split)), (ours.len() * 7, sum(&ours)));
}

#[tokio::test]
async fn defect_4_running_experiments_are_active() {
    let place = place();
    let upstream = place
        .rows(
            "SELECT normandy_slug FROM `moz-fx-data-experiments.monitoring.experimenter_experiments_v1` \
             WHERE end_date > DATE '2024-03-17'",
        )
        .await;
    let listed = place.figures.experiments().await.unwrap();
    let active: Vec<_> = listed.values().filter(|experiment| experiment.is_active(at(NOW))).collect();
    let running = active.iter().filter(|experiment| experiment.end_date.is_none()).count();
    assert_eq!((upstream.num_rows(), running), (active.len() - running, 8));
}

#[tokio::test]
async fn defect_5_an_experiment_without_a_start_date_spoils_nothing() {
    let place = place();
    let id = TableId::new("moz-fx-data-experiments", "monitoring", "experimenter_experiments_v1");
    let list = place.rows(&format!("SELECT * FROM `{id}`")).await;
    let slug = list.column_by_name("normandy_slug").unwrap().as_string::<i32>().value(0).to_owned();
    let schema = list.schema();
    let column = schema.index_of("start_date").unwrap();
    let mut columns = list.columns().to_vec();
    let nothing: ArrayRef = new_null_array(columns[column].data_type(), 1);
    let rest = columns[column].slice(1, list.num_rows() - 1);
    columns[column] = arrow::compute::concat(&[&*nothing, &*rest]).unwrap();
    let before = place.series(&query("experiment_enrollment_overall", By::Total)).await;
    place.embedded.replace(&id, &RecordBatch::try_new(schema, columns).unwrap()).unwrap();
    // A new list: the old one is fresh for a while.
    place.clock.set(at(NOW).plus(std::time::Duration::from_mins(5)));
    place.figures.engine().purge_some(None, None).unwrap();

    // The exporter's floor: `DATE(time) >= start_date`, which is NULL.
    let upstream = place
        .rows(&format!(
            "SELECT e.time FROM `{PROJECT}.telemetry.experiment_enrollment_overall` AS e \
             JOIN `{id}` AS x ON x.normandy_slug = e.experiment \
             WHERE e.experiment = '{slug}' AND DATE(e.time) >= x.start_date"
        ))
        .await;
    assert_eq!(upstream.num_rows(), 0);
    let of = |values: &Values| -> i64 {
        values.iter().filter(|((known, ..), _)| *known == slug).map(|(_, value)| value).sum()
    };
    let after = place.series(&query("experiment_enrollment_overall", By::Total)).await;
    assert!(of(&after) >= of(&before) && of(&after) > 0, "{} {}", of(&after), of(&before));
    let others =
        |values: &Values| values.keys().map(|(slug, ..)| slug.clone()).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(others(&after), others(&before));
    let counts = place.figures.counts().await.unwrap();
    assert!(!counts.by_slug.contains_key(slug.as_str()) && counts.by_slug.len() > 5);
}
