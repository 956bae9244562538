//! The list of experiments and the numbers of active clients, as tables.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use chrono::NaiveDate;
use weir_plan::extent::DAY;
use weir_plan::{Result, Timestamp};

use super::config::start_of;
use super::curve;
use super::draw::{Draw, Purpose, real, whole};
use super::recipes::{Branch, Recipe};
use super::rows::record_batch;
use super::tables;

/// The list of experiments at `now`: those that have started, in order of their slugs.
pub(super) fn experiments(recipes: &[Recipe], now: Timestamp) -> Result<RecordBatch> {
    let mut started: Vec<&Recipe> = recipes.iter().filter(|recipe| recipe.start <= now).collect();
    started.sort_by(|one, other| one.slug.cmp(&other.slug));
    let rows = Rows(&started);
    let ended = |recipe: &Recipe| now >= recipe.end;
    let paused = |recipe: &Recipe| now >= recipe.enrollment_end;
    let columns = vec![
        rows.texts(|recipe| &recipe.slug),
        rows.texts(|_| "nimbus"),
        rows.texts(|recipe| if ended(recipe) { "Complete" } else { "Live" }),
        rows.dates(|recipe| Some(recipe.start)),
        rows.dates(|recipe| ended(recipe).then_some(recipe.end)),
        rows.dates(|recipe| paused(recipe).then_some(recipe.enrollment_end)),
        rows.integers(|recipe| whole(recipe.enrollment_days())),
        rows.texts(|recipe| &recipe.branches[0].slug),
        rows.flags(|recipe| recipe.enrollments > 1e6),
        rows.branches()?,
        rows.texts(|recipe| recipe.app_name),
        rows.texts(|recipe| recipe.app_name),
        rows.texts(|recipe| recipe.channels[0].0),
        rows.lists(|recipe| recipe.channels.iter().map(|(channel, _)| *channel).collect()),
        rows.texts(|recipe| if recipe.is_rollout { "true" } else { "(os.isWindows && versionNumber >= 120)" }),
        rows.floats(|recipe| (recipe.enrollments / 1e5).clamp(0.1, 100.0).round()),
        rows.texts(|recipe| recipe.features[0]),
        rows.lists(|recipe| recipe.features.clone()),
        rows.flags(|recipe| recipe.is_rollout),
        rows.lists(|recipe| if recipe.is_rollout { vec![] } else { vec!["default_browser", "search_count"] }),
        rows.lists(|_| vec!["regular_users_v3"]),
        rows.texts(|recipe| if recipe.app_name.contains("desktop") { "normandy_id" } else { "nimbus_id" }),
        rows.flags(|_| false),
        rows.flags(paused),
    ];
    record_batch(tables::experiments().schema, columns)
}

/// Active clients of a day by experiment, branch and channel.
pub(super) fn active_clients(seed: u64, recipes: &[Recipe], day: NaiveDate) -> Result<RecordBatch> {
    let midnight = start_of(day).micros();
    let (mut slugs, mut branches, mut channels, mut counts) = (vec![], vec![], vec![], vec![]);
    for (place, recipe) in (0..).zip(recipes) {
        // A client counts if it was enrolled at any time of the day.
        let until = (midnight + DAY).min(recipe.end.micros());
        if recipe.end.micros() <= midnight || until <= recipe.start.micros() {
            continue;
        }
        let mut draw = Draw::new(seed, Purpose::Active, place, midnight / DAY);
        let population = curve::population(recipe, real(until - recipe.start.micros()) / real(DAY));
        for branch in &recipe.branches {
            for (channel, share) in &recipe.channels {
                let active = draw.poisson(population * recipe.activity * branch.share * share);
                if active > 0 {
                    slugs.push(recipe.slug.as_str());
                    branches.push(branch.slug.as_str());
                    channels.push(*channel);
                    counts.push(active);
                }
            }
        }
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Date32Array::from_value(date32(start_of(day)), counts.len())),
        Arc::new(StringArray::from(slugs)),
        Arc::new(StringArray::from(branches)),
        Arc::new(StringArray::from(channels)),
        Arc::new(Int64Array::from(counts)),
    ];
    record_batch(tables::active_clients().schema, columns)
}

fn date32(time: Timestamp) -> i32 {
    i32::try_from(time.micros().div_euclid(DAY)).unwrap_or(i32::MAX)
}

/// Makes columns of recipes.
struct Rows<'a>(&'a [&'a Recipe]);

impl<'a> Rows<'a> {
    fn texts(&self, text: impl Fn(&'a Recipe) -> &'a str) -> ArrayRef {
        Arc::new(StringArray::from_iter_values(self.0.iter().map(|recipe| text(recipe))))
    }

    fn integers(&self, number: impl Fn(&Recipe) -> i64) -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(self.0.iter().map(|recipe| number(recipe))))
    }

    fn floats(&self, number: impl Fn(&Recipe) -> f64) -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(self.0.iter().map(|recipe| number(recipe))))
    }

    fn flags(&self, flag: impl Fn(&Recipe) -> bool) -> ArrayRef {
        let flags: BooleanArray = self.0.iter().map(|recipe| Some(flag(recipe))).collect();
        Arc::new(flags)
    }

    fn dates(&self, time: impl Fn(&Recipe) -> Option<Timestamp>) -> ArrayRef {
        let dates: Date32Array = self.0.iter().map(|recipe| time(recipe).map(date32)).collect();
        Arc::new(dates)
    }

    fn lists(&self, texts: impl Fn(&Recipe) -> Vec<&'static str>) -> ArrayRef {
        let lists: Vec<_> = self.0.iter().map(|recipe| texts(recipe)).collect();
        let items: StringArray = lists.iter().flatten().map(|text| Some(*text)).collect();
        let item = Arc::new(Field::new_list_field(DataType::Utf8, true));
        Arc::new(ListArray::new(item, OffsetBuffer::from_lengths(lists.iter().map(Vec::len)), Arc::new(items), None))
    }

    fn branches(&self) -> Result<ArrayRef> {
        let branches: Vec<(&Recipe, &Branch)> =
            self.0.iter().flat_map(|recipe| recipe.branches.iter().map(move |branch| (*recipe, branch))).collect();
        let features = |recipe: &Recipe, slug: &str| {
            let feature = |id: &&str| serde_json::json!({"featureId": id, "value": {"variant": slug}});
            serde_json::Value::from(recipe.features.iter().map(feature).collect::<Vec<_>>()).to_string()
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(branches.iter().map(|(_, branch)| &branch.slug))),
            Arc::new(Int64Array::from_iter_values(branches.iter().map(|(_, branch)| branch.ratio))),
            Arc::new(StringArray::from_iter_values(
                branches.iter().map(|(recipe, branch)| features(recipe, &branch.slug)),
            )),
        ];
        let fields = tables::branch_fields();
        let item = Arc::new(Field::new_list_field(DataType::Struct(fields.clone().into()), true));
        let items = StructArray::try_new(fields.into(), columns, None).map_err(|error| {
            weir_plan::Error::internal("generated branches do not fit their column").with_source(error)
        })?;
        let lengths = self.0.iter().map(|recipe| recipe.branches.len());
        Ok(Arc::new(ListArray::new(item, OffsetBuffer::from_lengths(lengths), Arc::new(items), None)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::SyntheticConfig;
    use super::super::recipes::catalogue;
    use super::*;
    use arrow::array::{Array, AsArray};

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text, Timestamp::MIN).unwrap()
    }

    #[test]
    fn an_experiment_has_an_end_date_only_when_it_is_complete() {
        let now = at("2024-05-15T12:00:00Z");
        let recipes = catalogue(&SyntheticConfig::small(now));
        let rows = experiments(&recipes, now).unwrap();
        assert_eq!(rows.num_rows(), 16);
        let status = rows.column_by_name("status").unwrap().as_string::<i32>();
        let end = rows.column_by_name("end_date").unwrap();
        let live = (0..16).filter(|row| status.value(*row) == "Live").count();
        assert_eq!(live, 12);
        for row in 0..16 {
            assert_eq!(end.is_null(row), status.value(row) == "Live");
        }
        let branches = rows.column_by_name("branches").unwrap().as_list::<i32>();
        let total: usize = recipes[..16].iter().map(|recipe| recipe.branches.len()).sum();
        assert_eq!(branches.values().len(), total);
        let features = branches.values().as_struct().column(2).as_string::<i32>();
        assert!(serde_json::from_str::<serde_json::Value>(features.value(0)).unwrap().is_array());
    }

    #[test]
    fn the_list_moves_with_the_clock() {
        let now = at("2024-05-15T12:00:00Z");
        let recipes = catalogue(&SyntheticConfig::small(now));
        let later = experiments(&recipes, at("2024-08-15T00:00:00Z")).unwrap();
        assert_eq!(later.num_rows(), 20);
        let status = later.column_by_name("status").unwrap().as_string::<i32>();
        assert!(status.iter().all(|status| status == Some("Complete")));
    }

    #[test]
    fn active_clients_follow_the_population() {
        let now = at("2024-05-15T12:00:00Z");
        let recipes = catalogue(&SyntheticConfig::small(now));
        let rows = active_clients(1, &recipes, now.date().pred_opt().unwrap()).unwrap();
        let slugs = rows.column(1).as_string::<i32>();
        let counts = rows.column(4).as_primitive::<arrow::datatypes::Int64Type>();
        for recipe in recipes.iter().filter(|recipe| recipe.is_live(now) && recipe.enrollments > 1e4) {
            let age = real(start_of(now.date()).micros() - recipe.start.micros()) / real(DAY);
            if age < 1.0 {
                continue;
            }
            let active: i64 =
                (0..rows.num_rows()).filter(|row| slugs.value(*row) == recipe.slug).map(|row| counts.value(row)).sum();
            let expected = curve::population(recipe, age) * recipe.activity;
            assert!((real(active) / expected - 1.0).abs() < 0.1, "{}: {active}, expected {expected}", recipe.slug);
        }
    }
}
