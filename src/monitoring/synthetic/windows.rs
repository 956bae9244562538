//! Draws the rows of 5-minute windows: the truth, complete and without duplicates, with the marks of
//! when and how often each row comes to the live tables.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::{Array, StringArray};
use chrono::NaiveDate;
use weir_plan::Result;
use weir_plan::extent::DAY;

use super::apps::{self, CHANNELS, CRASH, EventType, FIREFOX_DESKTOP, SEARCH, TELEMETRY};
use super::block::{Block, Day};
use super::config::start_of;
use super::curve::{self, COUNTERS, WINDOWS};
use super::draw::{Draw, Purpose, real};
use super::recipes::Recipe;
use super::rows::{CrashRows, Dictionaries, EnrollmentRows, SearchRows, WINDOW};
use super::tables::Fact;

/// Legacy pings count each event once for each entry of its map, under no branch.
const INFLATION: i64 = 3;
/// Searches that an active client reports per day.
const SEARCHES_PER_DAY: f64 = 0.03;
/// Shares of searches with ads, and of those with a click.
const WITH_ADS: f64 = 0.35;
const CLICKED: f64 = 0.08;
/// Crashes of an active client per day.
const CRASHES_PER_DAY: f64 = 0.000_5;
const PROCESSES: [&str; 4] = ["main", "content", "gpu", "rdd"];
const PROCESS_WEIGHTS: [f64; 4] = [0.3, 0.55, 0.1, 0.05];
const SIGNATURES: [&str; 5] = [
    "OOM | small",
    "shutdownhang | NtWaitForAlertByThreadId",
    "mozilla::dom::ContentChild::RecvShutdown",
    "js::gc::Cell::storeBuffer",
    "mozilla::wr::RenderThread::UpdateAndRender",
];
const SIGNATURE_WEIGHTS: [f64; 5] = [0.45, 0.25, 0.15, 0.1, 0.05];

/// Makes rows of windows, each a function of the seed and the window alone.
pub(super) struct Windows {
    seed: u64,
    recipes: Vec<Recipe>,
    lanes: Vec<Lane>,
    dictionaries: Dictionaries,
}

/// One recipe's clients in one application.
struct Lane {
    app: apps::App,
    recipe: usize,
    experiment: u32,
    event_type: u32,
    /// Branches, each with its position in the dictionary and its share of the recipe's events.
    branches: Vec<(u32, f64)>,
    /// Channels of this application, each with its share.
    channels: Vec<(u32, f64)>,
    /// Sum of the channels' shares.
    share: f64,
    searches: bool,
    /// Application whose table has the crashes.
    crashes: Option<apps::App>,
}

impl Lane {
    /// Names the lane in draws.
    fn place(&self) -> u64 {
        u64::from(self.experiment) * 32 + self.app as u64
    }
}

/// Rows of all facts in the making.
#[derive(Default)]
struct Rows {
    enrollment: EnrollmentRows,
    /// Enrollment rows without a branch.
    inflated: EnrollmentRows,
    search: SearchRows,
    crash: CrashRows,
}

impl Windows {
    pub(super) fn new(seed: u64, recipes: Vec<Recipe>) -> Self {
        let mut branches = BTreeMap::new();
        for branch in recipes.iter().flat_map(|recipe| &recipe.branches) {
            let next = branches.len();
            branches.entry(branch.slug.clone()).or_insert(next);
        }
        let mut lanes: Vec<Lane> =
            recipes.iter().enumerate().flat_map(|(at, recipe)| lanes(at, recipe, &branches)).collect();
        lanes.sort_by_key(|lane| (lane.app, lane.experiment));
        let mut branch_names = vec![None; branches.len() + 1];
        for (slug, position) in branches {
            branch_names[position] = Some(slug);
        }
        let dictionaries = Dictionaries {
            experiments: recipes.iter().map(|recipe| Some(recipe.slug.as_str())).collect(),
            branches: branch_names.into_iter().collect(),
            types: StringArray::from_iter_values(EventType::NAMES),
            channels: StringArray::from_iter_values(CHANNELS),
            processes: StringArray::from_iter_values(PROCESSES),
            signatures: StringArray::from_iter_values(SIGNATURES),
        };
        Self { seed, recipes, lanes, dictionaries }
    }

    pub(super) fn recipes(&self) -> &[Recipe] {
        &self.recipes
    }

    /// Rows of some windows (0 to 287) of a day.
    pub(super) fn day(&self, day: NaiveDate, windows: Range<i64>) -> Result<Day> {
        let rhythm = curve::rhythm(day);
        let midnight = start_of(day);
        let mut rows = Rows::default();
        for lane in &self.lanes {
            let recipe = &self.recipes[lane.recipe];
            let first = midnight.micros() / WINDOW;
            // Windows that lie in the recipe's life.
            let from = (recipe.start.micros() / WINDOW - first).max(windows.start);
            let to = (recipe.end.micros() / WINDOW - first).min(windows.end);
            let mut burst = (i64::MIN, 1.0);
            for window in from..to {
                let hour = (first + window) * WINDOW / weir_plan::extent::HOUR;
                if burst.0 != hour {
                    burst = (hour, curve::burst(self.seed, lane.place(), hour));
                }
                let rhythm = usize::try_from(window).ok().and_then(|at| rhythm.get(at)).copied().unwrap_or(1.0);
                self.window(lane, first + window, rhythm, burst.1, &mut rows);
            }
        }
        rows.enrollment.append(rows.inflated);
        let dictionaries = &self.dictionaries;
        let enrollment = rows.enrollment.batch(Fact::Enrollment.daily_schema(), dictionaries)?;
        let search = rows.search.batch(Fact::Search.daily_schema(), dictionaries)?;
        let crash = rows.crash.batch(Fact::Crash.daily_schema(), dictionaries)?;
        Ok(Day::new([
            Block::enrollment(midnight, enrollment, rows.enrollment.keys, dictionaries)?,
            Block::new(Fact::Search, midnight, search, rows.search.keys),
            Block::new(Fact::Crash, midnight, crash, rows.crash.keys),
        ]))
    }

    /// Adds the rows of one lane and window (counted from the epoch).
    fn window(&self, lane: &Lane, window: i64, rhythm: f64, burst: f64, rows: &mut Rows) {
        let recipe = &self.recipes[lane.recipe];
        let age = real(window * WINDOW + WINDOW / 2 - recipe.start.micros()) / real(DAY);
        let mut draw = Draw::new(self.seed, Purpose::Window, lane.place(), window);
        let rates = curve::expected(recipe, age, burst).map(|rate| rate * rhythm);
        self.enrollments(lane, window, &rates, &mut draw, rows);
        if lane.searches || lane.crashes.is_some() {
            let active = curve::population(recipe, age) * recipe.activity * lane.share * rhythm / real(WINDOWS);
            if lane.searches {
                searches(lane, window, active * SEARCHES_PER_DAY, &mut draw, &mut rows.search);
            }
            if let Some(app) = lane.crashes {
                crashes(lane, app, window, active * CRASHES_PER_DAY, &mut draw, &mut rows.crash);
            }
        }
    }

    fn enrollments(&self, lane: &Lane, window: i64, rates: &[f64; COUNTERS], draw: &mut Draw, rows: &mut Rows) {
        let legacy = lane.app == TELEMETRY && self.recipes[lane.recipe].legacy;
        let total: f64 = rates.iter().sum();
        for (channel, channel_share) in &lane.channels {
            let mut inflated = [0; COUNTERS];
            for (branch, branch_share) in &lane.branches {
                let Some(counts) = counts(rates, total, channel_share * branch_share, draw) else { continue };
                push(&mut rows.enrollment, lane, *branch, *channel, window, &counts, draw);
                for (sum, count) in inflated.iter_mut().zip(counts) {
                    *sum += count * INFLATION;
                }
            }
            if legacy && inflated.iter().any(|count| *count > 0) {
                let no_branch = u32::try_from(self.dictionaries.branches.len() - 1).unwrap_or(0);
                push(&mut rows.inflated, lane, no_branch, *channel, window, &inflated, draw);
            }
        }
    }
}

/// Events of one row; `None` if there are none.
fn counts(rates: &[f64; COUNTERS], total: f64, share: f64, draw: &mut Draw) -> Option<[i64; COUNTERS]> {
    let mut counts = [0; COUNTERS];
    if total * share > 8.0 {
        for (count, rate) in counts.iter_mut().zip(rates) {
            *count = draw.poisson(rate * share);
        }
        return counts.iter().any(|count| *count > 0).then_some(counts);
    }
    // A few events in all: how many, then what each is. The same distribution, in one or two draws.
    let events = draw.poisson(total * share);
    for _ in 0..events {
        counts[draw.weighted(rates)] += 1;
    }
    (events > 0).then_some(counts)
}

fn push(
    rows: &mut EnrollmentRows,
    lane: &Lane,
    branch: u32,
    channel: u32,
    window: i64,
    counts: &[i64; COUNTERS],
    draw: &mut Draw,
) {
    rows.keys.push(lane.app, lane.experiment, branch, window, draw);
    rows.types.push(lane.event_type);
    rows.channels.push(channel);
    for (column, count) in rows.counts.iter_mut().zip(counts) {
        column.push(*count);
    }
}

fn searches(lane: &Lane, window: i64, expected: f64, draw: &mut Draw, rows: &mut SearchRows) {
    for (branch, share) in &lane.branches {
        let searches = draw.poisson(expected * share);
        if searches == 0 {
            continue;
        }
        let with_ads = draw.poisson(real(searches) * WITH_ADS).min(searches);
        let clicks = draw.poisson(real(with_ads) * CLICKED).min(with_ads);
        rows.keys.push(lane.app, lane.experiment, *branch, window, draw);
        for (column, count) in rows.counts.iter_mut().zip([clicks, with_ads, searches]) {
            column.push(count);
        }
    }
}

fn crashes(lane: &Lane, app: apps::App, window: i64, expected: f64, draw: &mut Draw, rows: &mut CrashRows) {
    for (branch, share) in &lane.branches {
        let crashes = draw.poisson(expected * share);
        if crashes == 0 {
            continue;
        }
        // At most four kinds in a window, the first with what is left over.
        let kinds = crashes.min(4);
        let mut seen = BTreeMap::new();
        for kind in 0..kinds {
            let process = draw.weighted(&PROCESS_WEIGHTS);
            let signature = draw.weighted(&SIGNATURE_WEIGHTS);
            let count = if kind == 0 { crashes - kinds + 1 } else { 1 };
            *seen.entry((process, signature)).or_insert(0) += count;
        }
        for ((process, signature), count) in seen {
            rows.keys.push(app, lane.experiment, *branch, window, draw);
            rows.processes.push(u32::try_from(process).unwrap_or(0));
            rows.signatures.push(u32::try_from(signature).unwrap_or(0));
            rows.counts.push(count);
        }
    }
}

/// The applications that a recipe's channels report to.
fn lanes(position: usize, recipe: &Recipe, branches: &BTreeMap<String, usize>) -> Vec<Lane> {
    let index = |number: usize| u32::try_from(number).unwrap_or(0);
    let mut by_app: BTreeMap<apps::App, Vec<(u32, f64)>> = BTreeMap::new();
    for (channel, (_, share)) in recipe.channel_positions.iter().zip(&recipe.channels) {
        by_app.entry(recipe.product.apps[*channel]).or_default().push((index(*channel), *share));
    }
    let lane = |(app, channels): (apps::App, Vec<(u32, f64)>)| Lane {
        app,
        recipe: position,
        experiment: index(position),
        event_type: apps::event_type(app, recipe.legacy) as u32,
        branches: recipe.branches.iter().map(|branch| (index(branches[&branch.slug]), branch.share)).collect(),
        share: channels.iter().map(|(_, share)| share).sum(),
        channels,
        searches: SEARCH.contains(&app),
        crashes: [if app == TELEMETRY { FIREFOX_DESKTOP } else { app }].into_iter().find(|app| CRASH.contains(app)),
    };
    by_app.into_iter().map(lane).collect()
}
