//! The trace we ship: 27 panels of an experiment's board, 20 viewers, eight hours over a midnight.
//!
//! It knows boards and settings of the generated data, and no rows.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use weir_plan::extent::{DAY, HOUR};
use weir_plan::{Error, Result, Step, Timestamp};

use super::trace::{Base, Kind, Panel, Refresh, Trace};
use crate::monitoring::synthetic::{DailyJob, Landing, Recipe, Synthetic, SyntheticConfig};

const VIEWERS: u32 = 20;
const HOURS: u32 = 8;
/// Longest delay of a refresh: a browser's, and what the answers of the one before took.
const JITTER_MS: u32 = 2000;
/// 2024-05-15T20:00:00Z: four hours before a midnight.
const START: i64 = 1_715_803_200_000_000;
/// The day whose rows views take from the daily table from that midnight on.
const LATE_DAY: i64 = 3 * DAY;
/// Its job runs at 02:00 after the midnight, 47 hours late, so that views have a hole till then.
const LATE: Duration = Duration::from_hours(47);

/// What a generated trace depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Seed of the data and of the refreshes.
    pub seed: u64,
    /// Live recipes.
    pub recipes: u32,
}

impl Default for Setting {
    /// Few recipes, so that a replay ends within a minute: at this grain nearly every table bills the
    /// minimum, whatever is in it.
    fn default() -> Self {
        Self { seed: 1, recipes: 6 }
    }
}

impl Trace {
    /// The trace for a setting.
    ///
    /// # Errors
    /// `InvalidQuery` if no live experiment has several branches.
    pub fn generate(setting: Setting) -> Result<Self> {
        let start = Timestamp::saturating(START);
        let late_day = Timestamp::saturating(start.ceil(DAY).micros() - LATE_DAY).date();
        let mut trace = Self {
            seed: setting.seed,
            start,
            hours: HOURS,
            range: Duration::from_hours(28 * 24),
            interval: Step::Micros(HOUR),
            recipes: [setting.recipes, setting.recipes / 3, 1],
            history_days: 30,
            late: vec![(late_day, LATE)],
            exported: 160,
            export_every: Duration::from_mins(5),
            panels: vec![],
            refreshes: refreshes(setting.seed),
        };
        let data = Synthetic::new(trace.data());
        trace.panels = panels(board_of(data.recipes(), start)?);
        Ok(trace)
    }

    /// The settings of the data.
    pub fn data(&self) -> SyntheticConfig {
        let [live_recipes, ended_recipes, upcoming_recipes] = self.recipes;
        let exceptions = self.late.iter().map(|(day, delay)| (*day, Landing::Late(*delay))).collect();
        SyntheticConfig {
            seed: self.seed,
            live_recipes,
            ended_recipes,
            upcoming_recipes,
            history_days: self.history_days,
            daily_job: DailyJob { exceptions, ..DailyJob::default() },
            ..SyntheticConfig::demo(self.start)
        }
    }
}

/// The experiment with most enrollments, of those that run for two weeks already if there are any.
fn board_of(recipes: &[Recipe], now: Timestamp) -> Result<&Recipe> {
    let since = now.minus(Duration::from_hours(14 * 24));
    let experiments = recipes.iter().filter(|recipe| recipe.is_live(now) && recipe.branches.len() > 1);
    let order = |one: &&Recipe, other: &&Recipe| {
        (one.start <= since).cmp(&(other.start <= since)).then(one.enrollments.total_cmp(&other.enrollments))
    };
    let most = experiments.max_by(order);
    most.ok_or_else(|| Error::invalid("no live experiment has several branches; take more recipes, or another seed"))
}

/// Each viewer opens the board at a moment of the first minute and refreshes it every minute, with
/// some delay.
fn refreshes(seed: u64) -> Vec<Refresh> {
    let draw = |viewer: u32, minute: u32, below: u32| {
        let digest = Sha256::digest(format!("refresh {seed} {viewer} {minute}"));
        let number = digest.iter().take(4).fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        number % below
    };
    let of_viewer = |viewer: u32| {
        let opened = draw(viewer, u32::MAX, 60_000 - JITTER_MS);
        (0..HOURS * 60).map(move |minute| {
            let at_ms = minute * 60_000 + opened + draw(viewer, minute, JITTER_MS);
            Refresh { at_ms, viewer }
        })
    };
    let mut refreshes: Vec<Refresh> = (0..VIEWERS).flat_map(of_viewer).collect();
    refreshes.sort_by_key(|refresh| (refresh.at_ms, refresh.viewer));
    refreshes
}

/// The panels over one view with one set of filters.
struct Board<'a> {
    recipe: &'a Recipe,
    panels: Vec<Panel>,
}

/// The panels of the board, with its variables put in: 15 over flows, 12 over running totals.
fn panels(recipe: &Recipe) -> Vec<Panel> {
    use Base::{Active, Enrollment, Search};
    use Kind::{Cumulative, Flow};
    let mut board = Board { recipe, panels: vec![] };
    let (enrolled, unenrolled) = ("experiment_enrollment_overall", "experiment_unenrollment_overall");
    let (other, active) =
        ("experiment_enrollment_other_events_overall", "experiment_enrollment_daily_active_population");
    let population = "experiment_enrollment_cumulative_population_estimate";
    let crashes = "experiment_crash_counts";
    board.sums(Enrollment, "Enrollment status", enrolled, "");
    board.rate("Unenrollment rate", unenrolled, enrolled);
    board.sums(Enrollment, "SRM: enrollments", enrolled, "branch");
    board.sums(Enrollment, "SRM: unenrollments", unenrolled, "branch");
    board.sums(Active, "SRM: daily active clients", active, "branch");
    board.last(Flow, Active, "Daily active population", active, false);
    board.last(Flow, Active, "Daily active population by branch", active, true);
    for (title, view, interval) in [
        ("Daily enrollments", enrolled, "1d"),
        ("Enrollment overall", enrolled, "$__interval"),
        ("Unenrollment overall", unenrolled, "$__interval"),
    ] {
        board.buckets(Enrollment, title, view, interval, &[]);
        board.buckets(Enrollment, &format!("{title} by branch"), view, interval, &["branch"]);
    }
    board.buckets(Enrollment, "Other events", other, "$__interval", &["event"]);
    board.buckets(Enrollment, "Other events by branch", other, "$__interval", &["branch", "event"]);

    board.add(
        Cumulative,
        Enrollment,
        "Enrolled clients",
        format!("SELECT branch, MAX(value) AS value {} GROUP BY 1 ORDER BY 1", board.of(population, "time")),
    );
    board.last(Cumulative, Enrollment, "Population estimate", population, false);
    board.last(Cumulative, Enrollment, "Population estimate by branch", population, true);
    for (title, count, cumulative) in [
        ("searches", "search_count", "experiment_cumulative_search_count"),
        ("ad clicks", "ad_clicks_count", "experiment_cumulative_ad_clicks"),
        ("searches with ads", "search_with_ads_count", "experiment_cumulative_search_with_ads_count"),
    ] {
        board.searches(&format!("Number of {title}"), count);
        board.last(Cumulative, Search, &format!("Cumulative {title}"), cumulative, true);
    }
    board.running("Cumulative crashes", crashes, None);
    board.running("Cumulative crashes by branch", crashes, Some("branch"));
    board.running("Cumulative crashes by process", crashes, Some("crash_process_type"));
    board.panels
}

impl Board<'_> {
    fn add(&mut self, kind: Kind, base: Base, title: &str, sql: String) {
        self.panels.push(Panel { kind, base, title: title.to_owned(), sql });
    }

    /// `FROM` and `WHERE` of every panel.
    fn of(&self, view: &str, time: &str) -> String {
        self.from(&format!("telemetry.{view}"), time)
    }

    fn from(&self, view: &str, time: &str) -> String {
        let branches: Vec<String> = self.recipe.branches.iter().map(|branch| format!("'{}'", branch.slug)).collect();
        format!(
            "FROM `moz-fx-data-shared-prod.{view}` WHERE experiment = '{}' AND branch IS NOT NULL \
             AND branch IN ({}) AND $__timeFilter({time})",
            self.recipe.slug,
            branches.join(", ")
        )
    }

    /// Sums over the range.
    fn sums(&mut self, base: Base, title: &str, view: &str, by: &str) {
        let of = self.of(view, "time");
        let sql = match by {
            "" => format!("SELECT SUM(value) AS value {of}"),
            by => format!("SELECT {by}, SUM(value) AS value {of} GROUP BY 1 ORDER BY 1"),
        };
        self.add(Kind::Flow, base, title, sql);
    }

    fn rate(&mut self, title: &str, part: &str, whole: &str) {
        let sum = |view: &str| format!("(SELECT SUM(value) AS value {})", self.of(view, "time"));
        let sql = format!(
            "SELECT SAFE_DIVIDE(part.value, whole.value) AS rate FROM {} AS part CROSS JOIN {} AS whole",
            sum(part),
            sum(whole)
        );
        self.add(Kind::Flow, Base::Enrollment, title, sql);
    }

    /// Sums in each bucket.
    fn buckets(&mut self, base: Base, title: &str, view: &str, interval: &str, by: &[&str]) {
        let names = by.iter().map(|name| format!("{name}, ")).collect::<Vec<_>>().concat();
        let groups = (1..=by.len()).map(|place| format!(", {}", place + 1)).collect::<Vec<_>>().concat();
        let of = self.of(view, "time");
        let sql = format!(
            "SELECT $__timeGroup(time, {interval}) AS time, {names}SUM(value) AS value {of} GROUP BY 1{groups} ORDER BY 1"
        );
        self.add(Kind::Flow, base, title, sql);
    }

    /// The greatest value of each branch in each bucket, which is the last one of a running total; all
    /// branches together, or each by itself.
    fn last(&mut self, kind: Kind, base: Base, title: &str, view: &str, by_branch: bool) {
        let of = self.of(view, "time");
        let branches =
            format!("SELECT $__timeGroup(time, $__interval) AS time, branch, MAX(value) AS value {of} GROUP BY 1, 2");
        let sql = if by_branch {
            format!("{branches} ORDER BY 1")
        } else {
            format!("SELECT time, SUM(value) AS value FROM ({branches}) GROUP BY 1 ORDER BY 1")
        };
        self.add(kind, base, title, sql);
    }

    /// Sums of a column of the view of searches, which has running totals beside.
    fn searches(&mut self, title: &str, count: &str) {
        let of = self.from("telemetry_derived.experiment_search_aggregates_live_v1", "window_start");
        let sql = format!(
            "SELECT $__timeGroup(window_start, $__interval) AS time, branch, SUM({count}) AS value {of} \
             GROUP BY 1, 2 ORDER BY 1"
        );
        self.add(Kind::Cumulative, Base::Search, title, sql);
    }

    /// A running total that the panel makes itself.
    fn running(&mut self, title: &str, view: &str, by: Option<&str>) {
        let of = self.of(view, "time");
        let (names, groups, parts) = match by {
            Some(by) => (format!("{by}, "), ", 2", format!("PARTITION BY {by} ")),
            None => (String::new(), "", String::new()),
        };
        let sql = format!(
            "SELECT time, {names}SUM(value) OVER ({parts}ORDER BY time ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) \
             AS value FROM (SELECT $__timeGroup(time, $__interval) AS time, {names}SUM(value) AS value {of} \
             GROUP BY 1{groups}) ORDER BY 1"
        );
        self.add(Kind::Cumulative, Base::Crash, title, sql);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_trace_is_the_one_it_was() {
        let trace = Trace::generate(Setting::default()).unwrap();
        assert_eq!(trace.sha256(), "ccd0791a0e8ab4bcf903a13efbdcce31344a7f5126e9f244608c99f724b594e8");
        let count = |kind| trace.panels.iter().filter(|panel| panel.kind == kind).count();
        assert_eq!((count(Kind::Flow), count(Kind::Cumulative)), (15, 12));
        assert_eq!(trace.refreshes.len(), 20 * 8 * 60);
        assert!(trace.start < trace.end().floor(DAY) && trace.end().floor(DAY) < trace.end(), "a midnight is inside");
        let landings: Vec<String> =
            super::super::place::landings(&trace).iter().map(|(_, at)| at.to_string()).collect();
        assert_eq!(landings, ["2024-05-16T02:00:00Z", "2024-05-16T03:00:00Z"]);
    }

    #[test]
    fn another_seed_is_another_trace() {
        let hash = |seed| Trace::generate(Setting { seed, ..Setting::default() }).unwrap().sha256();
        assert_ne!(hash(1), hash(2));
    }
}
