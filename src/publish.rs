//! Files of experiments in a bucket or a folder: what `weir publish` writes.
//!
//! The only part that knows `object_store` (`publish/bucket.rs`, `publish/folder.rs`) and indicatif
//! (`publish/progress.rs`). It gets every figure from [`Figures`], and asks for no rows itself.

mod bucket;
mod destination;
mod documents;
mod folder;
mod index;
mod object;
mod progress;
mod rows;
mod selection;
mod session;
mod summary;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::NaiveTime;
use futures::{TryStreamExt as _, stream};
use tokio::time::MissedTickBehavior;
use weir_plan::{Result, Timestamp};

pub use self::bucket::Bucket;
pub use self::destination::Destination;
pub use self::progress::Progress;
pub use self::summary::{Summary, Tally};

use self::documents::Due;
use self::object::{Media, Object};
use self::selection::{DATASETS, Exported};
use self::session::Session;
use crate::monitoring::figures::{By, Experiment, Figures, Granularity, Series};

/// Objects under way at once: enough to hide a bucket's latency, few enough that their bytes are no load.
const AT_ONCE: usize = 16;

/// How the rows of a file are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// Numbers as numbers, times in ISO 8601, buckets labelled with their start.
    #[default]
    Plain,
    /// As the exporter before us wrote them: numbers as text, times as `BigQuery` prints them, half hours
    /// labelled with their end.
    Exporter,
}

/// What is published, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishSettings {
    /// The form of rows.
    pub form: Form,
    /// The length of all buckets; `None` goes by age.
    pub granularity: Option<Granularity>,
    /// The time of the day (UTC) from which the day's counts are due.
    pub counts_at: NaiveTime,
}

impl PublishSettings {
    /// When the day's counts are due where nothing else is said: the daily job has landed by then.
    pub const COUNTS_AT: NaiveTime = match NaiveTime::from_hms_opt(5, 0, 0) {
        Some(time) => time,
        None => NaiveTime::MIN,
    };
}

impl Default for PublishSettings {
    fn default() -> Self {
        Self { form: Form::Plain, granularity: None, counts_at: Self::COUNTS_AT }
    }
}

/// The oldest rows of open days that are published: a round that begins a slot after the last one finds
/// rows that were fetched seconds after that one began, and brings newer ones.
const FRESH: Duration = Duration::from_mins(4);

/// Publishes the figures of a source to a destination.
pub struct Publisher {
    figures: Arc<Figures>,
    bucket: Bucket,
    settings: PublishSettings,
}

impl Publisher {
    /// A publisher; nothing is written yet.
    pub fn new(figures: &Figures, bucket: Bucket, settings: PublishSettings) -> Self {
        let figures = Arc::new(figures.no_older_than(FRESH));
        Self { figures, bucket, settings }
    }

    /// Publishes once. Dropping the future leaves every object as it was or as it is to be.
    ///
    /// # Errors
    /// Those of the figures; `Overloaded` if another publisher holds the folder; `NotFound`,
    /// `PermissionDenied` and `Unavailable` naming the object that could not be written, and why.
    pub async fn publish(&self, progress: &Progress) -> Result<Summary> {
        let (begin, spent) = (Instant::now(), self.figures.spent());
        let now = self.figures.engine().now();
        let published = self.round(progress, now).await;
        progress.end();
        let (experiments, tally) = published?;
        let (jobs, bytes_billed) = Summary::jobs(spent, self.figures.spent());
        let destination = self.bucket.name().to_owned();
        Ok(Summary { destination, experiments, tally, jobs, bytes_billed, took: begin.elapsed() })
    }

    /// Publishes now and every so often, and tells of each round. A round that takes longer delays the
    /// next one and is never cut short: rounds that were missed are left out.
    pub async fn publish_every(&self, every: Duration, progress: &Progress, mut tell: impl FnMut(Result<Summary>)) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            tell(self.publish(progress).await);
        }
    }

    async fn round(&self, progress: &Progress, now: Timestamp) -> Result<(usize, Tally)> {
        let session = Session::begin(&self.bucket, now).await?;
        let experiments = self.figures.experiments().await?;
        let active: Vec<&Experiment> = experiments.values().filter(|experiment| experiment.is_active(now)).collect();
        progress.expect(DATASETS.len() * (2 * active.len() + 1));
        let round = Round { publisher: self, session: &session, progress, now };
        for dataset in DATASETS {
            progress.at(dataset.name);
            round.dataset(dataset, &active).await?;
        }
        round.daily().await?;
        Ok((active.len(), session.end(now).await?))
    }
}

/// A round under way.
struct Round<'a> {
    publisher: &'a Publisher,
    session: &'a Session<'a>,
    progress: &'a Progress,
    now: Timestamp,
}

impl Round<'_> {
    /// The files of a dataset: two for each experiment, and one table of them all.
    async fn dataset(&self, dataset: Exported, active: &[&Experiment]) -> Result<()> {
        let (by_branch, total) = dataset.splits();
        let branches = self.series(dataset, &by_branch, active).await?;
        let totals = self.series(dataset, &total, active).await?;
        let files = branches.iter().map(|series| (series, "_by_branch")).chain(totals.iter().map(|total| (total, "")));
        stream::iter(files.map(Ok))
            .try_for_each_concurrent(AT_ONCE, |(series, suffix)| async move {
                let file = format!("{}_{}{suffix}.json", series.experiment, dataset.name);
                let bytes = rows::json(series, self.publisher.settings.form)?;
                self.put(&Object::new("monitoring", &file, Media::JSON, bytes), series.as_of).await
            })
            .await?;
        let as_of = branches.iter().map(|series| series.as_of).min().unwrap_or(self.now);
        let table = table::parquet(&branches, dataset.has_events)?;
        let file = format!("{}.parquet", dataset.name);
        self.put(&Object::new("datasets", &file, Media::PARQUET, table), as_of).await
    }

    /// A dataset's series by slug.
    async fn series(&self, dataset: Exported, by: &By, active: &[&Experiment]) -> Result<Vec<Series>> {
        let Publisher { figures, settings, .. } = self.publisher;
        let grain = figures.datasets().bases()[figures.dataset(dataset.name)?.base].grain;
        let mut series = Vec::with_capacity(active.len());
        for query in selection::queries(dataset.name, by, active, settings, grain, self.now) {
            series.extend(figures.series(&query).await?);
        }
        series.sort_by(|a, b| a.experiment.cmp(&b.experiment));
        Ok(series)
    }

    /// The documents of the day, if they are due.
    async fn daily(&self) -> Result<()> {
        let Publisher { figures, settings, .. } = self.publisher;
        let day = match Due::of(self.now, settings.counts_at, |file| self.session.has(documents::FOLDER, file)) {
            Due::Nothing => return Ok(()),
            Due::Latest => None,
            Due::Today(day) => Some(day),
        };
        self.progress.at("counts");
        let (counts, funnel) = tokio::try_join!(figures.counts(), figures.funnel())?;
        let mut objects = vec![documents::funnel(&funnel)?];
        objects.extend(documents::counts(&counts, day)?);
        self.progress.expect(objects.len());
        for object in &objects {
            self.put(object, counts.as_of).await?;
        }
        Ok(())
    }

    async fn put(&self, object: &Object, as_of: Timestamp) -> Result<()> {
        self.session.put(object, as_of).await?;
        self.progress.step();
        Ok(())
    }
}
