//! A query and a point in time become a plan: the mode, the segments to answer from, their keys,
//! and how long each stays fresh.
//!
//! It does not fetch, store or merge. [`plan()`] plans whole answers, [`delta::delta`] those in parts.

pub mod delta;
mod template;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};

use self::delta::Assembly;
pub use self::template::Template;
use crate::descriptor::{DEFAULT_LAG, OPEN_SLOT, Settling, State, Verdict, open_slot, stale_cap};
use crate::error::{Error, Result};
use crate::extent::{DAY, Extent, MINUTE, Step, Timestamp};
use crate::macros::{self, Expansion};
use crate::query::{CacheMode, Query, Scope};
use crate::sql;

/// Version of the keys' meaning: a change here leaves every stored answer behind.
const FORMAT: u32 = 2;

/// How a query is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// From local relations, without a job of its own.
    Local,
    /// From aggregated segments, one per partition.
    Delta,
    /// From raw segments, one per partition.
    Rows,
    /// From one answer for the whole range.
    Whole,
    /// From the source alone; neither read from the cache nor stored.
    Off,
}

impl Mode {
    /// The mode's name, as in headers and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Delta => "delta",
            Self::Rows => "rows",
            Self::Whole => "whole",
            Self::Off => "off",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How long an answer may be served after it was fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Freshness {
    /// Served as it is until this age.
    pub fresh_for: Duration,
    /// Served until this age while a new one is fetched; never less than `fresh_for`.
    pub stale_until: Duration,
}

/// The name of a stored answer: a digest for speed, and what it means for certainty.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    digest: [u8; 32],
    family: Option<Arc<Family>>,
    own: Arc<str>,
}

/// What the keys of all segments of a text that is answered in parts have in common: its template id, and
/// what a quota counts by.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Family {
    digest: [u8; 32],
    preimage: String,
}

impl Family {
    /// Makes it of its meaning.
    pub fn new(preimage: String) -> Arc<Self> {
        Arc::new(Self { digest: Sha256::digest(preimage.as_bytes()).into(), preimage })
    }

    /// The key of one of its segments, by what that has of its own.
    pub fn key(self: &Arc<Self>, own: String) -> Key {
        let digest = Sha256::new().chain_update(self.digest).chain_update(own.as_bytes()).finalize();
        Key { digest: digest.into(), family: Some(Arc::clone(self)), own: own.into() }
    }
}

impl Key {
    /// Makes the key of its meaning.
    pub fn new(preimage: String) -> Self {
        Self { digest: Sha256::digest(preimage.as_bytes()).into(), family: None, own: preimage.into() }
    }

    /// The first 128 bits of the digest in hexadecimal.
    pub fn short_hex(&self) -> String {
        let (high, _) = self.digest.split_at(16);
        format!("{:032x}", high.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte)))
    }

    /// What it has in common with the keys of the other segments of its text, if it is one of such.
    pub const fn family(&self) -> Option<&Arc<Family>> {
        self.family.as_ref()
    }

    /// Everything that the key stands for.
    pub fn preimage(&self) -> Cow<'_, str> {
        match &self.family {
            Some(family) => format!("{} {}", family.preimage, self.own).into(),
            None => (&*self.own).into(),
        }
    }

    /// Bytes of the preimage.
    pub fn preimage_len(&self) -> usize {
        self.family.as_ref().map_or(0, |family| family.preimage.len() + 1) + self.own.len()
    }
}

/// Hashes the digest alone; equality compares the preimage too.
impl std::hash::Hash for Key {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.short_hex())
    }
}

/// One piece of an answer, fetched by one job and stored under one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it is stored.
    pub key: Key,
    /// Its range, where the text has one.
    pub extent: Option<Extent>,
    /// Plain SQL for the source; empty in a plan in parts, whose jobs [`delta::joined`] writes.
    pub sql: String,
    /// Its job fails rather than bill more.
    pub maximum_bytes_billed: Option<u64>,
    /// Its lifetimes for this caller.
    pub freshness: Freshness,
    /// What a stored answer is worth beyond its age, where the source's settling is known.
    pub settling: Option<Settling>,
    /// How long it is worth keeping, for callers who take older answers than this one.
    pub keep_for: Duration,
}

impl Segment {
    /// What an answer is worth at `now` that was fetched at `fetched`, and whether it was without rows.
    pub fn judge(&self, fetched: Timestamp, empty: bool, now: Timestamp) -> Verdict {
        let age = now.since(fetched);
        // A final one is named by the state of its partitions, whatever the time was.
        let is_final = self.settling.is_some_and(|settling| settling.state == State::Final);
        if fetched.is_ahead_of(now) && !is_final {
            return Verdict::Expired;
        }
        let by_age = if age < self.freshness.fresh_for {
            Verdict::Fresh
        } else if age < self.freshness.stale_until {
            Verdict::Stale
        } else {
            Verdict::Expired
        };
        match self.settling.map(|settling| settling.judge(fetched, empty)) {
            None => by_age,
            // The caller may take less than the source allows.
            Some(Verdict::Stale) if by_age == Verdict::Expired => Verdict::Expired,
            Some(verdict) => verdict,
        }
    }
}

/// How to answer a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The mode.
    pub mode: Mode,
    /// Stable code of the reason for the mode.
    pub reason: &'static str,
    /// The pieces, in order; never empty.
    pub segments: Vec<Segment>,
    /// How their rows become the answer; `None` for a whole one, which is its only segment.
    pub assembly: Option<Assembly>,
}

/// What the plan of a query depends on besides the query.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// The source's identity: kind, endpoint, project, principal.
    pub source: String,
    /// What the source may answer beyond its identity, and to whom; narrowed by the query's own.
    pub scope: Scope,
    /// Location of the job where the query names none.
    pub location: Option<String>,
    /// Counts of purges: of all of the source's answers, of those to the text, of those of any days. A new
    /// one leaves stored answers behind.
    pub purges: [u64; 3],
    /// The source's own limit of billed bytes for a job.
    pub maximum_bytes_billed: Option<u64>,
}

/// The longest life of a whole answer about the past: it may still be corrected (late rows,
/// backfills), and without a descriptor nobody says so.
const LONGEST: Duration = Duration::from_hours(1);

/// Plans a query as of `now`.
///
/// # Errors
/// `InvalidQuery` for a text that is not a query (DML, DDL, scripts), an unknown or misused macro,
/// and a range macro without a range.
pub fn plan(query: &Query, context: &Context, now: Timestamp) -> Result<Plan> {
    let statement = sql::statement(&query.sql)?;
    if !statement.is_query() {
        return Err(Error::invalid(format!(
            "{} is not a query; only SELECT (or WITH … SELECT) is run",
            statement.name()
        )));
    }
    if query.cache.mode == CacheMode::Off {
        let expansion = macros::expand(&query.sql, query.range, query.step, &query.target)?;
        return Ok(Plan {
            mode: Mode::Off,
            reason: "cache_off",
            segments: vec![segment(query, context, query.range, expansion, shortest(), Duration::ZERO)],
            assembly: None,
        });
    }
    let slot = slot(query, query.step.unwrap_or(Step::Micros(MINUTE)));
    let micros = i64::try_from(slot.as_micros()).unwrap_or(DAY);
    let extent = query.range.map(|range| range.floor(micros));
    let expansion = macros::expand(&query.sql, extent, query.step, &query.target)?;
    let volatile = sql::volatile_function(&query.sql);
    let (reason, mut freshness) = match (volatile, extent.filter(|_| expansion.uses_range)) {
        (Some(_), _) => ("volatile_function", shortest()),
        (None, Some(extent)) => ("whole_range", by_age(extent.end(), slot, now)),
        (None, None) => ("no_range", lifetime(asked_slot(query).unwrap_or(Duration::from_mins(1)))),
    };
    let keep_for = freshness.stale_until;
    if let Some(max_stale) = query.cache.max_stale {
        freshness.stale_until = freshness.stale_until.min(freshness.fresh_for + max_stale);
    }
    let extent = extent.filter(|_| expansion.uses_range);
    Ok(Plan {
        mode: Mode::Whole,
        reason,
        segments: vec![segment(query, context, extent, expansion, freshness, keep_for)],
        assembly: None,
    })
}

/// The slot of an open range: what the caller asks for, else that of the step.
fn slot(query: &Query, step: Step) -> Duration {
    asked_slot(query).unwrap_or_else(|| open_slot(step))
}

/// The slot that the caller asks for, in whole microseconds, where it asks for one.
fn asked_slot(query: &Query) -> Option<Duration> {
    let micros = i64::try_from(query.cache.fresh_for?.as_micros()).ok()?;
    (1..=DAY).contains(&micros).then(|| Duration::from_micros(micros.unsigned_abs()))
}

/// An open range lives for its slot; a past one for about a tenth of its age, at most an hour. The
/// lifetime is a rung of a ladder, so that job ids made of it do not change from moment to moment.
fn by_age(end: Timestamp, slot: Duration, now: Timestamp) -> Freshness {
    const LOWEST: Duration = Duration::from_mins(1);
    const LADDER: [Duration; 5] =
        [LONGEST, Duration::from_mins(30), Duration::from_mins(15), Duration::from_mins(5), LOWEST];
    let age = now.since(end);
    if age < DEFAULT_LAG {
        return lifetime(slot);
    }
    lifetime(LADDER.into_iter().find(|rung| *rung <= age / 10).unwrap_or(LOWEST))
}

fn shortest() -> Freshness {
    lifetime(OPEN_SLOT.0)
}

/// Fresh for `fresh_for`, then stale for a while.
fn lifetime(fresh_for: Duration) -> Freshness {
    Freshness { fresh_for, stale_until: fresh_for + stale_cap(fresh_for) }
}

fn segment(
    query: &Query,
    context: &Context,
    extent: Option<Extent>,
    expansion: Expansion,
    freshness: Freshness,
    keep_for: Duration,
) -> Segment {
    let range = extent.map(|extent| [extent.start().micros(), extent.end().micros()]);
    let own = serde_json::json!({ "range": range, "sql": expansion.sql });
    Segment {
        key: Key::new(preimage(query, context, Mode::Whole, &own)),
        extent,
        sql: expansion.sql,
        maximum_bytes_billed: maximum_bytes_billed(query, context),
        freshness,
        settling: None,
        keep_for,
    }
}

fn maximum_bytes_billed(query: &Query, context: &Context) -> Option<u64> {
    [query.maximum_bytes_billed, context.maximum_bytes_billed].into_iter().flatten().min()
}

/// The preimage of a key or a family: all that answers to a query depend on, and what `named` adds.
fn preimage(query: &Query, context: &Context, mode: Mode, named: &serde_json::Value) -> String {
    let location = query.location.as_ref().or(context.location.as_ref());
    let parameters: Vec<_> = query.parameters.iter().collect();
    serde_json::json!({
        "format": FORMAT,
        "mode": mode,
        "scope": [context.scope.0, query.scope.0],
        "source": context.source,
        "location": location,
        "default_dataset": query.default_dataset,
        "purges": context.purges,
        "maximum_bytes_billed": maximum_bytes_billed(query, context),
        "parameters": parameters,
        "of": named,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text, Timestamp::MIN).unwrap()
    }

    fn query(sql: &str, from: &str, to: &str) -> Query {
        let mut query = Query::new(sql);
        query.range = Some(Extent::new(at(from), at(to)).unwrap());
        query.step = Some("1m".parse().unwrap());
        query
    }

    fn only(query: &Query, now: &str) -> Segment {
        let plan = plan(query, &Context::default(), at(now)).unwrap();
        let [segment] = plan.segments.try_into().unwrap();
        segment
    }

    const FILTER: &str = "SELECT ts FROM t WHERE $__timeFilter(ts)";

    #[test]
    fn both_ends_floor_to_the_slot_and_the_key_holds_both() {
        let now = "2024-01-01T06:00:08Z";
        let first = only(&query(FILTER, "2024-01-01T00:00:01Z", "2024-01-01T06:00:01Z"), now);
        let same = only(&query(FILTER, "2024-01-01T00:00:07Z", "2024-01-01T06:00:07Z"), now);
        let next = only(&query(FILTER, "2024-01-01T00:00:16Z", "2024-01-01T06:00:16Z"), now);
        assert_eq!(first, same);
        assert_ne!(first.key, next.key);
        let filter = "ts >= TIMESTAMP '2024-01-01T00:00:00Z' AND ts < TIMESTAMP '2024-01-01T06:00:00Z'";
        assert!(first.sql.contains(filter), "{}", first.sql);
    }

    #[test]
    fn a_text_without_range_has_one_key_for_every_range() {
        let now = "2024-01-03";
        let first = only(&query("SELECT 1", "2024-01-01", "2024-01-02"), now);
        assert_eq!(first.key, only(&query("SELECT 1", "2023-01-01", "2023-01-02"), now).key);
        assert_eq!(first.extent, None);
    }

    #[test]
    fn everything_that_changes_the_answer_changes_the_key() {
        let base = query(FILTER, "2024-01-01", "2024-01-02");
        let key =
            |query: &Query, context: &Context| plan(query, context, at("2024-01-03")).unwrap().segments[0].key.clone();
        let context = Context { source: "s".into(), ..Context::default() };
        let of_base = key(&base, &context);
        let changes: [fn(&mut Query); 6] = [
            |query| query.scope.0 = "other".into(),
            |query| query.location = Some("EU".into()),
            |query| query.default_dataset = Some("d".into()),
            |query| query.sql.push(' '),
            |query| {
                let parameter = crate::Parameter { type_name: "INT64".into(), value: 1.into() };
                query.parameters.insert("p".into(), parameter);
            },
            |query| query.range = Some(Extent::new(at("2024-01-01"), at("2024-01-03")).unwrap()),
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut other = base.clone();
            change(&mut other);
            assert_ne!(key(&other, &context), of_base, "change {number}");
        }
        for other in [
            Context { source: "t".into(), ..context.clone() },
            Context { scope: Scope("somebody".into()), ..context.clone() },
            Context { location: Some("US".into()), ..context.clone() },
            Context { purges: [0, 1, 0], ..context.clone() },
            Context { maximum_bytes_billed: Some(1), ..context.clone() },
        ] {
            assert_ne!(key(&base, &other), of_base, "{other:?}");
        }
    }

    #[test]
    fn labels_do_not_change_the_key() {
        let base = query(FILTER, "2024-01-01", "2024-01-02");
        let mut labelled = base.clone();
        labelled.labels.insert("panel".into(), "1".into());
        assert_eq!(only(&base, "2024-01-03"), only(&labelled, "2024-01-03"));
    }

    #[test]
    fn freshness_grows_with_the_age_of_the_end() {
        let seconds =
            |sql: &str, now: &str| only(&query(sql, "2024-01-01", "2024-01-02"), now).freshness.fresh_for.as_secs();
        assert_eq!(seconds(FILTER, "2024-01-01T12:00:00Z"), 15);
        assert_eq!(seconds(FILTER, "2024-01-02T00:09:00Z"), 15);
        assert_eq!(seconds(FILTER, "2024-01-02T01:00:00Z"), 300);
        assert_eq!(seconds(FILTER, "2024-01-02T01:00:01Z"), 300);
        assert_eq!(seconds(FILTER, "2024-03-01"), 3600);
        assert_eq!(seconds("SELECT RAND(), $__timeFrom()", "2024-03-01"), 15);
    }

    #[test]
    fn the_callers_controls_are_honoured() {
        let mut asked = query(FILTER, "2024-01-01", "2024-01-02");
        asked.cache.fresh_for = Some(Duration::from_mins(10));
        asked.cache.max_stale = Some(Duration::ZERO);
        let first = only(&asked, "2024-01-02");
        let ten_minutes = Duration::from_mins(10);
        assert_eq!(first.freshness, Freshness { fresh_for: ten_minutes, stale_until: ten_minutes });
        assert!(first.keep_for > ten_minutes, "kept for callers who take stale answers");
        asked.range = query(FILTER, "2024-01-01T00:00:20Z", "2024-01-02T00:00:20Z").range;
        assert_eq!(only(&asked, "2024-01-02").key, first.key, "the slot is the caller's");
        assert_eq!(only(&asked, "2024-03-01").freshness.fresh_for, Duration::from_hours(1), "an open slot's only");
        asked.cache.fresh_for = Some(Duration::ZERO);
        assert_eq!(only(&asked, "2024-01-02").freshness.fresh_for, Duration::from_secs(15));
        asked.cache.mode = CacheMode::Off;
        let planned = plan(&asked, &Context::default(), at("2024-01-02T00:00:07Z")).unwrap();
        assert_eq!(planned.mode, Mode::Off);
    }

    #[test]
    fn lifetimes_end_at_their_age() {
        let mut asked = query(FILTER, "2024-01-01", "2024-01-02");
        asked.step = Some("1h".parse().unwrap());
        let open = only(&asked, "2024-01-02T00:09:59Z").freshness.fresh_for;
        let past = only(&asked, "2024-01-02T00:10:00Z").freshness.fresh_for;
        assert_eq!((open, past), (Duration::from_mins(5), Duration::from_mins(1)));
        asked.cache.max_stale = Some(Duration::from_mins(2));
        let segment = only(&asked, "2024-01-02");
        assert_eq!(segment.freshness.stale_until, Duration::from_mins(7));
        let fetched = at("2024-01-02");
        for (now, expected) in [
            ("2024-01-02T00:04:59Z", Verdict::Fresh),
            ("2024-01-02T00:05:00Z", Verdict::Stale),
            ("2024-01-02T00:06:59Z", Verdict::Stale),
            ("2024-01-02T00:07:00Z", Verdict::Expired),
        ] {
            assert_eq!(segment.judge(fetched, false, at(now)), expected, "{now}");
        }
    }

    #[test]
    fn a_key_is_named_by_its_digest_and_knows_its_meaning() {
        use std::hash::{BuildHasher as _, RandomState};
        // SHA-256 of "abc", as FIPS 180-2 has it.
        let key = Key::new("abc".to_owned());
        assert_eq!(key.short_hex(), "ba7816bf8f01cfea414140de5dae2223");
        assert_eq!((&*key.preimage(), format!("{key:?}")), ("abc", format!("Key({})", key.short_hex())));
        assert!(key.family().is_none());
        let state = RandomState::new();
        assert_ne!(state.hash_one(&key), state.hash_one(Key::new("abd".to_owned())));
        let modes = [Mode::Local, Mode::Delta, Mode::Rows, Mode::Whole, Mode::Off].map(|mode| mode.to_string());
        assert_eq!(modes, ["local", "delta", "rows", "whole", "off"]);
    }

    #[test]
    fn what_a_clock_kept_that_was_ahead_is_worth_nothing_unless_it_is_final() {
        let mut segment = only(&query(FILTER, "2024-01-01", "2024-01-02"), "2024-01-02");
        let now = at("2024-01-02T00:02:00Z");
        for settling in [None, Some(State::Open), Some(State::Live), Some(State::Pending), Some(State::Final)] {
            segment.settling = settling.map(|state| Settling::sample(state, at("2024-01-02")));
            let judged = |fetched: &str| segment.judge(at(fetched), false, now);
            assert_eq!(judged("2024-01-02T00:03:00Z"), Verdict::Fresh, "landed while its caller waited");
            let expected = if settling == Some(State::Final) { Verdict::Fresh } else { Verdict::Expired };
            assert_eq!(judged("2024-01-02T00:03:00.000001Z"), expected, "{settling:?}");
        }
    }

    #[test]
    fn a_family_is_part_of_its_keys() {
        let [one, other] = ["one", "other"].map(|text| Family::new(text.to_owned()));
        let key = one.key("a".to_owned());
        assert_eq!((&*key.preimage(), key.preimage_len(), key.family()), ("one a", 5, Some(&one)));
        assert_eq!((&key, key.short_hex()), (&one.key("a".to_owned()), one.key("a".to_owned()).short_hex()));
        for different in [other.key("a".to_owned()), one.key("b".to_owned()), Key::new("a".to_owned())] {
            assert_ne!(key, different);
            assert_ne!(key.short_hex(), different.short_hex());
        }
        assert_eq!(Key::new("abc".to_owned()).preimage_len(), 3);
    }

    #[test]
    fn what_is_not_a_query_is_refused_by_name() {
        let cases = [
            ("DELETE FROM t WHERE true", "DELETE"),
            ("create table t (x int64)", "CREATE"),
            ("DECLARE x INT64", "DECLARE"),
        ];
        for (sql, name) in cases {
            let error = plan(&Query::new(sql), &Context::default(), at("2024-01-01")).unwrap_err();
            assert!(error.message().starts_with(name), "{error}");
        }
    }
}
