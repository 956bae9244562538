//! Series: what a query needs of the engine, and its points.

use std::sync::Arc;

use weir_plan::extent::DAY;
use weir_plan::{Error, Result, Timestamp};

use super::ask::Listed;
use super::points::{Buckets, Shape, points};
use super::rows::Rows;
use super::zones::Needs;
use super::{Experiment, Figures, Granularity, Made, Series, SeriesQuery};
use crate::engine::{Answer, Provenance};
use crate::monitoring::datasets::{Base, Dataset, DatasetKind, Names};
use crate::monitoring::granularity::recent_since;
use crate::nearest::hint;

/// A query, and everything that its series are made of.
pub(super) struct Asked<'a> {
    pub(super) figures: &'a Figures,
    pub(super) query: &'a SeriesQuery,
    pub(super) dataset: &'a Dataset,
    base: &'a Base,
    split: Option<Names>,
    listed: Arc<Listed>,
    /// The experiments that were asked for, in order.
    slugs: Vec<Arc<str>>,
    now: Timestamp,
    zones: Vec<Arc<Rows>>,
    pub(super) answers: Vec<Answer>,
}

impl Figures {
    /// Asks the engine for all that a query needs.
    pub(super) async fn asked<'a>(&'a self, query: &'a SeriesQuery) -> Result<Asked<'a>> {
        let dataset = self.dataset(&query.dataset)?;
        let base = &self.datasets().bases()[dataset.base];
        let split = split(query, dataset, base)?;
        let now = self.engine.now();
        let Made { figure: listed, mut answers } = self.listed().await?;
        let slugs = slugs(query, &listed)?;
        let needs = self.needs(query, &listed, &slugs, now)?;
        let rows = self.base(dataset.base, &listed, needs, now).await?;
        let zones = self.rows(dataset.base, &rows)?;
        answers.extend(rows);
        Ok(Asked { figures: self, query, dataset, base, split, listed, slugs, now, zones, answers })
    }

    /// A dataset by its name.
    ///
    /// # Errors
    /// `NotFound` naming it and the name that was probably meant.
    pub fn dataset(&self, name: &str) -> Result<&Dataset> {
        let known: Vec<&str> = self.datasets().iter().map(|dataset| &*dataset.name).collect();
        let missing = || Error::not_found(format!("no dataset {name:?}{}", hint(name, &known)));
        self.datasets().find(name).ok_or_else(missing)
    }

    /// How far back which buckets are needed.
    fn needs(&self, query: &SeriesQuery, listed: &Listed, slugs: &[Arc<str>], now: Timestamp) -> Result<Needs> {
        let mut needs = Needs::default();
        for experiment in slugs.iter().filter_map(|slug| listed.get(slug)) {
            let Some(granularity) = query.granularity else {
                let start = experiment.start().unwrap_or(now);
                let (recent, before) = self.settings.ages.of(start, now);
                needs.add(recent, recent_since(now));
                needs.add(before, query.from.unwrap_or(start).max(start).min(now));
                continue;
            };
            let reach = granularity.reach_days().saturating_mul(DAY);
            let farthest = Timestamp::saturating(now.micros().saturating_sub(reach));
            let since = query.from.or(experiment.start()).unwrap_or(farthest).min(now);
            let days = (now.floor(DAY).micros() - since.floor(DAY).micros()) / DAY;
            if days > granularity.reach_days() {
                return Err(Error::invalid(format!(
                    "granularity: {granularity} reaches back {} days, and {since} is {days} days ago (experiment \
                     {:?}); give a later from, or a coarser granularity",
                    granularity.reach_days(),
                    experiment.slug
                )));
            }
            needs.add(granularity, since);
        }
        Ok(needs)
    }
}

/// Checks a query against its dataset, and finds its split.
fn split(query: &SeriesQuery, dataset: &Dataset, base: &Base) -> Result<Option<Names>> {
    if let (Some(from), Some(to)) = (query.from, query.to)
        && from > to
    {
        return Err(Error::invalid(format!("from: {from} is after to, {to}")));
    }
    if let Some(granularity) = query.granularity.filter(|granularity| *granularity < base.grain) {
        let Base { grain, .. } = base;
        let message = format!("granularity: {granularity} is finer than the {grain} of dataset {}", dataset.name);
        return Err(Error::invalid(message));
    }
    if dataset.kind == DatasetKind::Level && query.cumulative == Some(true) {
        return Err(Error::invalid(format!("cumulative: dataset {} has levels, which do not add up", dataset.name)));
    }
    let Some(split) = query.by.split() else { return Ok(None) };
    let names = dataset.names(base, split).ok_or_else(|| {
        let known = dataset.splits(base);
        let known: Vec<&str> = ["branch"].into_iter().chain(known.iter().map(|name| &**name)).collect();
        Error::invalid(format!("by: dataset {} is split by {}, not by {split:?}", dataset.name, known.join(", ")))
    })?;
    Ok(Some(names))
}

fn slugs(query: &SeriesQuery, listed: &Listed) -> Result<Vec<Arc<str>>> {
    let Some(asked) = &query.experiments else { return Ok(listed.keys().map(Arc::clone).collect()) };
    asked.iter().map(|slug| find(listed, slug).map(|experiment| Arc::clone(&experiment.slug))).collect()
}

/// The listed experiment called `slug`.
///
/// # Errors
/// `NotFound` naming it and the slug that was probably meant.
pub(crate) fn find<'a>(listed: &'a Listed, slug: &str) -> Result<&'a Experiment> {
    listed.get(slug).ok_or_else(|| {
        let known: Vec<&str> = listed.keys().map(|slug| &**slug).collect();
        Error::not_found(format!("no experiment {slug:?}{}", hint(slug, &known)))
    })
}

impl Asked<'_> {
    /// The series, in the order in which they were asked for.
    pub(super) fn series(&self) -> Result<Vec<Series>> {
        let as_of = Provenance::together(&self.answers)?.fetched_at;
        let of = |slug: &Arc<str>| self.of(self.listed.get(slug), slug, as_of);
        Ok(self.slugs.iter().map(of).collect())
    }

    fn of(&self, experiment: Option<&Experiment>, slug: &Arc<str>, as_of: Timestamp) -> Series {
        let start = experiment.and_then(Experiment::start);
        let buckets = self.buckets(start.or_else(|| self.first_row(slug)));
        let shape = Shape {
            dataset: self.dataset,
            base: self.base,
            branches: self.query.by.has_branches(),
            split: self.split,
            cumulative: self.query.cumulative.unwrap_or(self.dataset.kind == DatasetKind::Cumulative),
            buckets,
            from: self.query.from.or(start),
            to: self.query.to,
        };
        Series {
            dataset: Arc::clone(&self.dataset.name),
            experiment: Arc::clone(slug),
            granularity: buckets.recent,
            points: points(shape, &self.zones, slug),
            as_of,
        }
    }

    fn first_row(&self, slug: &str) -> Option<Timestamp> {
        let times = self.zones.iter().flat_map(|rows| rows.of(slug)).map(super::rows::Row::time);
        times.min().map(Timestamp::saturating)
    }

    /// The buckets of an experiment that began at `start`.
    fn buckets(&self, start: Option<Timestamp>) -> Buckets {
        let by_age = || self.figures.settings.ages.of(start.unwrap_or(self.now), self.now);
        let (recent, before) = self.query.granularity.map_or_else(by_age, |granularity| (granularity, granularity));
        let at_least = |granularity: Granularity| granularity.max(self.base.grain);
        Buckets { recent_since: recent_since(self.now), recent: at_least(recent), before: at_least(before) }
    }

    /// What the series depend on besides the answers under them.
    pub(super) fn name(&self) -> String {
        format!("series {:?} on {}", self.query, self.now.date())
    }
}
