//! Which queries are answered in parts: what their texts allow, what is known of their source, and
//! when its partitions last changed. What cannot be found out makes an answer whole; only a
//! budget is an error.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray as _;
use arrow::datatypes::TimestampMicrosecondType;
use weir_plan::analysis::{Reason, reason};
use weir_plan::plan::Template;
use weir_plan::plan::delta::{Listing, delta};
use weir_plan::{
    CacheMode, Dialect, Error, Extent, Key, Mode, Plan, Query, Result, Scope, TableId, TimeType, Timestamp, plan,
};

use super::Engine;
use super::columns::{CAPACITY, FAILURE_LIFETIME};
use super::memo::Memo;
use crate::batches::Batches;
use crate::cache::Stored;
use crate::ledger::{Errand, OverBudget};

/// How long a text's analysis is taken for true.
const LIFETIME: Duration = Duration::from_mins(5);

/// How long a listing of partitions is taken for true: rows that arrive later than a source's lag show
/// in settled segments after this time at most. A listing bills the minimum of a table.
pub(crate) const LISTING: Duration = Duration::from_mins(15);

/// A table that changed this shortly before its partitions were listed may have changed again since.
const UNSURE: Duration = Duration::from_mins(1);

/// How long a listing is remembered to be confirmed again.
const CONFIRMED: Duration = Duration::from_hours(24);

/// The id of a partition that is all of a table without partitions: they list it as NULL.
const UNPARTITIONED: &str = "";

/// What is known of texts.
pub(super) struct Parts(Memo<Text, Known>);

impl Parts {
    /// Finds out anew in a minute what is known of a text.
    pub(super) fn forget_soon(&self, text: &Text, now: Timestamp) {
        self.0.forget(text, now.plus(FAILURE_LIFETIME));
    }
}

/// What an analysis depends on.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Text {
    sql: String,
    column_types: BTreeMap<String, TimeType>,
    default_dataset: Option<String>,
    scope: Scope,
    generation: u64,
}

/// Whether a plan may cost something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asking {
    /// Partitions are listed where that is not known.
    Jobs,
    /// The same, but what is known of them is not taken for true: for an audit.
    Anew,
    /// What is not known is left out: the plan is an explanation.
    Nothing,
}

/// Why a query is not planned in parts.
#[derive(Debug)]
pub(super) enum Unplanned {
    /// It is answered whole.
    Because(Reason),
    /// A budget does not allow what a plan needs, nor then a whole job, which is dearer.
    OverBudget(Error),
}

impl From<Reason> for Unplanned {
    fn from(reason: Reason) -> Self {
        Self::Because(reason)
    }
}

/// What was found out of a text.
pub(super) struct Known {
    /// The text, or why it is answered whole.
    pub(super) template: Result<Arc<Template>, Reason>,
    /// The location of its source.
    pub(super) location: Option<String>,
}

/// When each partition of a table last changed, by its id, as of a moment.
#[derive(Clone)]
struct Changed {
    at: Timestamp,
    stamps: Arc<HashMap<String, Timestamp>>,
    /// When the table itself last changed, and when that was asked.
    modified: Option<(Timestamp, Timestamp)>,
}

impl Default for Parts {
    fn default() -> Self {
        Self(Memo::new(CAPACITY, LIFETIME))
    }
}

impl Engine {
    /// The best plan that is safe.
    ///
    /// # Errors
    /// Those of [`plan::plan`]; the budget that a listing of partitions would break.
    pub(super) async fn plan(self: &Arc<Self>, query: &Query, asking: Asking, now: Timestamp) -> Result<Plan> {
        let whole = self.whole_plan(query, now)?;
        let has_range = whole.segments.iter().any(|segment| segment.extent.is_some());
        if query.cache.mode != CacheMode::Auto || whole.reason == VOLATILE || !has_range {
            return Ok(whole);
        }
        match self.in_parts(query, asking, now).await {
            Ok(plan) => Ok(plan),
            Err(Unplanned::Because(reason)) => Ok(Plan { reason, ..whole }),
            Err(Unplanned::OverBudget(error)) => Err(error),
        }
    }

    pub(super) async fn in_parts(
        self: &Arc<Self>,
        query: &Query,
        asking: Asking,
        now: Timestamp,
    ) -> Result<Plan, Unplanned> {
        if query.target.dialect != Dialect::Official {
            return Err(reason::OTHER_DIALECT.into());
        }
        let text = Text {
            sql: query.sql.clone(),
            column_types: query.target.column_types.clone(),
            default_dataset: query.default_dataset.clone(),
            scope: query.scope.clone(),
            generation: self.shared.store.generation(&self.identity),
        };
        if let Some(template) = self.locals.template(&query.sql) {
            let template = template.as_ref().map_err(|reason| *reason)?;
            return self.planned_in_parts(query, template, query.location.as_deref(), asking, now).await;
        }
        let known = self.parts.0.slot(&text, now);
        let known = known.get_or_init(|| self.analysed(query, &text, now)).await;
        let template = known.template.as_ref().map_err(|reason| *reason)?;
        self.planned_in_parts(query, template, known.location.as_deref(), asking, now).await
    }

    async fn planned_in_parts(
        self: &Arc<Self>,
        query: &Query,
        template: &Arc<Template>,
        location: Option<&str>,
        asking: Asking,
        now: Timestamp,
    ) -> Result<Plan, Unplanned> {
        let descriptor = template.descriptor();
        if descriptor.daily_table.is_none() && descriptor.branches.len() > 1 {
            // A view lists no partitions, and those of each of its tables would bill a listing each.
            return Err(reason::PARTITIONS_UNKNOWN.into());
        }
        let (settling, _) = descriptor.settled_by();
        let changed = self.changed(query, settling, location, asking, now).await;
        let changed = changed.map_err(|error| {
            if OverBudget::is_cause_of(&error) {
                return Unplanned::OverBudget(error);
            }
            tracing::debug!(table = %settling, ?error, "partitions cannot be listed; the answer is whole");
            reason::PARTITIONS_UNKNOWN.into()
        })?;
        let length = descriptor.segment_unit().id(now).len();
        let has_ids_of_the_unit = |id: &String| id.len() == length || id.starts_with("__") || id == UNPARTITIONED;
        if !changed.stamps.keys().all(has_ids_of_the_unit) {
            return Err(reason::PARTITIONS_UNKNOWN.into());
        }
        // Where no partitions are listed, all rows change with the table.
        let everything = match changed.stamps.get(UNPARTITIONED) {
            None if changed.stamps.is_empty() => {
                Some(self.table(settling).await.map_err(|_| reason::PARTITIONS_UNKNOWN)?.last_modified)
            }
            stamp => stamp.copied(),
        };
        let youngest = |extent: Extent| {
            if let Some(stamp) = everything {
                return Some((stamp, 1));
            }
            let ids = template.partition_ids(extent);
            let stamps: Vec<Timestamp> = ids.iter().filter_map(|id| changed.stamps.get(id)).copied().collect();
            Some((stamps.iter().max().copied()?, stamps.len()))
        };
        let statics = self.statics(template, Asking::Jobs).await?;
        let purged = |extent| self.purges_within(extent);
        let modified = changed.modified.filter(|(_, asked)| asked.holds_at(now, UNSURE)).map(|(modified, _)| modified);
        let listing = Listing { at: changed.at, modified, changed: &youngest, purged: &purged, statics: &statics };
        Ok(delta(query, &self.context(query), template, listing, now)?)
    }

    /// The states of the static tables that are joined, as they are remembered or anew.
    pub(super) async fn statics(&self, template: &Template, asking: Asking) -> Result<Vec<String>, Reason> {
        let mut states = vec![];
        for id in template.statics() {
            let table = match asking {
                Asking::Anew => self.source.table(id).await.map(Arc::new),
                Asking::Jobs | Asking::Nothing => self.table(id).await,
            };
            let table = table.map_err(|error| {
                tracing::debug!(table = %id, ?error, "a static table's state cannot be looked up; the answer is whole");
                reason::STATIC_JOIN
            })?;
            states.push(format!("{id} {} {}", table.last_modified.micros(), table.schema));
        }
        Ok(states)
    }

    /// When each partition of a table last changed, by its id; through the store like any other answer.
    async fn changed(
        self: &Arc<Self>,
        query: &Query,
        table: &TableId,
        location: Option<&str>,
        asking: Asking,
        now: Timestamp,
    ) -> Result<Changed> {
        let id = table;
        let TableId { project, dataset, table } = id;
        if [project, dataset, table].into_iter().any(|name| name.contains(['`', '\'', '\\', '\n'])) {
            return Err(Error::invalid(format!("table {table:?} has an odd name")));
        }
        let mut listing = Query::new(format!(
            "SELECT partition_id, last_modified_time FROM `{project}.{dataset}`.INFORMATION_SCHEMA.PARTITIONS \
             WHERE table_name = '{table}'"
        ));
        listing.location = query.location.clone().or_else(|| location.map(str::to_owned));
        listing.scope = query.scope.clone();
        listing.labels.clone_from(&query.labels);
        listing.principal.clone_from(&query.principal);
        listing.cache.fresh_for = Some(LISTING);
        listing.cache.max_stale = Some(Duration::ZERO);
        let is_anew = asking == Asking::Anew;
        let known = self.known_listing(&listing, id, asking, now).await;
        if let Some(known) = known {
            return Ok(known);
        }
        listing.cache.skip_read = is_anew;
        let errand = if is_anew { Errand::Audit } else { Errand::Listing };
        let plan = self.whole_plan(&listing, now)?;
        let [segment] = &*plan.segments else { return Err(Error::internal("a listing in parts")) };
        let stored = match asking {
            Asking::Jobs | Asking::Anew => Some(self.piece(&listing, Mode::Whole, segment, errand, now).await?.stored),
            Asking::Nothing => self.shared.store.segment(&segment.key),
        };
        let Some(stored) = stored else { return Ok(Changed { at: now, stamps: Arc::default(), modified: None }) };
        let changed = Changed { at: stored.fetched_at, stamps: self.stamps(&stored, now)?, modified: None };
        self.keep_listing(&listing, &changed, now);
        Ok(changed)
    }

    /// The last listing, if it still holds: while it is young, or where the table says, for nothing, that
    /// it has not changed since.
    async fn known_listing(&self, listing: &Query, table: &TableId, asking: Asking, now: Timestamp) -> Option<Changed> {
        let (known, _) = self.shared.store.note::<Changed>(&self.listing_key(listing))?;
        let mut known = Changed::clone(&known);
        let is_looked_at = known.modified.is_some_and(|(_, asked)| asked.holds_at(now, UNSURE));
        if asking == Asking::Jobs && !is_looked_at && now.since(known.at) >= UNSURE {
            let modified = self.source.table(table).await.ok()?.last_modified;
            known.modified = Some((modified, now));
            if modified.plus(UNSURE) <= known.at {
                known.at = now;
            }
            self.keep_listing(listing, &known, now);
        }
        (asking != Asking::Anew && known.at.holds_at(now, LISTING)).then_some(known)
    }

    fn keep_listing(&self, listing: &Query, changed: &Changed, now: Timestamp) {
        let key = self.listing_key(listing);
        let known = self.shared.store.note::<Changed>(&key).map(|(known, _)| known.at);
        let is_newer = known.is_none_or(|known| known <= changed.at || known.is_ahead_of(now));
        if is_newer {
            self.shared.store.keep_note(key, Arc::new(changed.clone()), size_of::<Changed>(), now, CONFIRMED);
        }
    }

    fn listing_key(&self, listing: &Query) -> Key {
        let scopes = (&self.settings.scope, &listing.scope, &listing.location, self.purges_of(listing));
        Key::new(format!("listing {} {scopes:?} {}", self.identity, listing.sql))
    }

    /// The day of the first partition of a table, as far as it is known without a job where none may run.
    pub(super) async fn first_partition(
        self: &Arc<Self>,
        query: &Query,
        table: &TableId,
        location: Option<&str>,
        asking: Asking,
        now: Timestamp,
    ) -> Result<Option<Timestamp>> {
        let changed = self.changed(query, table, location, asking, now).await?;
        let days = changed.stamps.keys().filter_map(|id| {
            let day = id.get(..8).filter(|day| day.bytes().all(|digit| digit.is_ascii_digit()))?;
            chrono::NaiveDate::parse_from_str(day, "%Y%m%d").ok()
        });
        Ok(days.min().map(Timestamp::from))
    }

    /// The stamps of a listing, read once for all who look at it.
    fn stamps(&self, listing: &Stored, now: Timestamp) -> Result<Arc<HashMap<String, Timestamp>>> {
        let store = &self.shared.store;
        let key = Key::new(format!("stamps {}", listing.content_id));
        if let Some((stamps, _)) = store.note(&key) {
            return Ok(stamps);
        }
        let stamps = Arc::new(read(&listing.batches)?);
        let bytes = stamps.len() * size_of::<(String, Timestamp)>() + listing.batches.memory_size();
        store.keep_note(key, Arc::clone(&stamps) as _, bytes, now, LISTING);
        Ok(stamps)
    }

    pub(super) fn whole_plan(&self, query: &Query, now: Timestamp) -> Result<Plan> {
        let mut context = self.context(query);
        context.purges[2] = self.purges_of_days();
        plan::plan(query, &context, now)
    }

    fn context(&self, query: &Query) -> plan::Context {
        let [all, text] = self.purges_of(query);
        plan::Context {
            source: self.identity.clone(),
            scope: self.settings.scope.clone(),
            location: self.source.identity().location.clone(),
            purges: [all, text, 0],
            maximum_bytes_billed: self.settings.maximum_bytes_billed,
        }
    }
}

/// The planner's reason for a text whose answer differs from run to run.
const VOLATILE: &str = "volatile_function";

/// Reads a listing of partitions.
fn read(listing: &Batches) -> Result<HashMap<String, Timestamp>> {
    let odd = || Error::internal("INFORMATION_SCHEMA.PARTITIONS has other columns than it should");
    let mut changed = HashMap::new();
    for batch in listing {
        let ids = batch.column(0).as_string_opt::<i32>().ok_or_else(odd)?;
        let times = batch.column(1).as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(odd)?;
        for (id, time) in ids.iter().zip(times) {
            let Some(time) = time else { continue };
            changed.insert(id.unwrap_or(UNPARTITIONED).to_owned(), Timestamp::from_micros(time)?);
        }
    }
    Ok(changed)
}

#[cfg(test)]
mod faults;
#[cfg(test)]
pub(super) mod tests;
#[cfg(test)]
pub(super) mod views;
