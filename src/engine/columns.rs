//! The types of the columns in time macros, from the schemas of their tables: looked up before a query
//! is planned, and then known for an hour, so that a query hardly ever pays for it. What cannot be
//! found out is a TIMESTAMP; it never fails a query.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use futures::future::join_all;
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use weir_plan::columns::{TimeColumn, column_types, time_columns};
use weir_plan::{Dialect, Query, Scope, TableId, TimeType, Timestamp};

use super::Engine;

/// How long a schema is taken for true.
const LIFETIME: Duration = Duration::from_hours(1);

/// How long a failed lookup is not tried again.
const FAILURE_LIFETIME: Duration = Duration::from_mins(1);

/// How long a query waits for a schema.
const PATIENCE: Duration = Duration::from_secs(5);

/// Texts and tables that are known at a time: more than a Grafana has panels, a few MB of texts.
const CAPACITY: usize = 1024;

type Types = BTreeMap<String, TimeType>;

/// What is known.
pub(super) struct Columns {
    texts: Memo<Text, Types>,
    tables: Memo<(Scope, TableId), Option<SchemaRef>>,
}

/// What the columns of a query depend on.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Text {
    sql: String,
    dialect: Dialect,
    time_column: Option<String>,
    default_dataset: Option<String>,
    scope: Scope,
}

impl Default for Columns {
    fn default() -> Self {
        Self { texts: Memo::new(CAPACITY), tables: Memo::new(CAPACITY) }
    }
}

impl Engine {
    /// The query with the types of its time columns, as far as they are not TIMESTAMP.
    pub(super) async fn typed<'q>(&self, query: &'q Query) -> Cow<'q, Query> {
        if !query.sql.contains("$__time") || knows_its_column(query) {
            return Cow::Borrowed(query);
        }
        let now = self.shared.clock.now();
        let text = Text {
            sql: query.sql.clone(),
            dialect: query.target.dialect,
            time_column: query.target.time_column.clone(),
            default_dataset: query.default_dataset.clone(),
            scope: query.scope.clone(),
        };
        let known = self.columns.texts.slot(&text, now);
        let types = known.get_or_init(|| self.look_up(query, &text, now)).await;
        if types.is_empty() {
            return Cow::Borrowed(query);
        }
        let mut query = query.clone();
        query.target.column_types.extend(types.iter().map(|(name, time_type)| (name.clone(), *time_type)));
        Cow::Owned(query)
    }

    async fn look_up(&self, query: &Query, text: &Text, now: Timestamp) -> Types {
        let project = &self.source.identity().project;
        let columns = time_columns(&query.sql, &query.target, query.default_dataset.as_deref(), project);
        let tables: BTreeSet<&TableId> = columns.iter().flat_map(of_tables).collect();
        let schemas = tables.into_iter().map(|table| async move {
            let key = (query.scope.clone(), table.clone());
            let known = self.columns.tables.slot(&key, now);
            (table, known.get_or_init(|| self.schema(&key, now)).await.clone())
        });
        let schemas: HashMap<&TableId, Option<SchemaRef>> = join_all(schemas).await.into_iter().collect();
        if schemas.values().any(Option::is_none) {
            self.columns.texts.forget(text, now.plus(FAILURE_LIFETIME));
        }
        let mut types = column_types(&columns, |table, path| time_type(schemas.get(table)?.as_ref()?, path));
        types.retain(|_, time_type| *time_type != TimeType::Timestamp);
        types
    }

    async fn schema(&self, key: &(Scope, TableId), now: Timestamp) -> Option<SchemaRef> {
        let found = tokio::time::timeout(PATIENCE, self.table(&key.1)).await;
        if let Ok(Ok(table)) = found {
            return Some(Arc::clone(&table.schema));
        }
        tracing::debug!(table = %key.1, ?found, "no schema; the columns in time macros are taken for TIMESTAMP");
        self.columns.tables.forget(key, now.plus(FAILURE_LIFETIME));
        None
    }
}

/// Whether every time macro is about one column whose type is given.
fn knows_its_column(query: &Query) -> bool {
    let target = &query.target;
    target.dialect == Dialect::Doitintl && target.time_column.is_some() && !target.column_types.is_empty()
}

fn of_tables(column: &TimeColumn) -> impl Iterator<Item = &TableId> {
    column.candidates.iter().map(|(table, _)| table)
}

/// The type of a column by its path, names in any case.
fn time_type(schema: &Schema, path: &[String]) -> Option<TimeType> {
    let mut fields = schema.fields();
    let (last, parents) = path.split_last()?;
    let find = |fields: &'_ arrow::datatypes::Fields, name: &str| {
        fields.iter().find(|field| field.name().eq_ignore_ascii_case(name)).cloned()
    };
    let mut parent;
    for name in parents {
        parent = find(fields, name)?;
        let DataType::Struct(inner) = parent.data_type() else { return None };
        fields = inner;
    }
    match find(fields, last)?.data_type() {
        DataType::Timestamp(_, Some(_)) => Some(TimeType::Timestamp),
        DataType::Timestamp(_, None) => Some(TimeType::Datetime),
        DataType::Date32 => Some(TimeType::Date),
        _ => None,
    }
}

/// Values that are found out once for all who ask, and forgotten in time.
struct Memo<K, V> {
    capacity: usize,
    slots: Mutex<HashMap<K, Slot<V>>>,
}

struct Slot<V> {
    /// When the value is forgotten.
    until: Timestamp,
    cell: Arc<OnceCell<V>>,
}

impl<K: Clone + Eq + Hash, V> Memo<K, V> {
    fn new(capacity: usize) -> Self {
        Self { capacity, slots: Mutex::default() }
    }

    /// Where the value of `key` is, or is to be put. Where there is no room, the oldest makes way.
    fn slot(&self, key: &K, now: Timestamp) -> Arc<OnceCell<V>> {
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.get(key).filter(|slot| slot.until > now) {
            return Arc::clone(&slot.cell);
        }
        if slots.len() >= self.capacity {
            slots.retain(|_, slot| slot.until > now);
        }
        if slots.len() >= self.capacity {
            let oldest = slots.iter().min_by_key(|(_, slot)| slot.until).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| slots.remove(&oldest));
        }
        let cell = Arc::<OnceCell<V>>::default();
        slots.insert(key.clone(), Slot { until: now.plus(LIFETIME), cell: Arc::clone(&cell) });
        cell
    }

    /// Forgets the value of `key` at `until`, if it was to be known for longer.
    fn forget(&self, key: &K, until: Timestamp) {
        if let Some(slot) = self.slots.lock().get_mut(key) {
            slot.until = slot.until.min(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{Field, Fields, TimeUnit};

    #[test]
    fn types_are_found_in_any_case_and_inside_structs() {
        let inner = Fields::from(vec![Field::new("At", DataType::Timestamp(TimeUnit::Microsecond, None), true)]);
        let schema = Schema::new(vec![
            Field::new("Day", DataType::Date32, true),
            Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
            Field::new("rec", DataType::Struct(inner), true),
            Field::new("n", DataType::Int64, true),
        ]);
        let check = |path: &[&str], expected: Option<TimeType>| {
            let path: Vec<_> = path.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(time_type(&schema, &path), expected, "{path:?}");
        };
        check(&["day"], Some(TimeType::Date));
        check(&["TS"], Some(TimeType::Timestamp));
        check(&["rec", "at"], Some(TimeType::Datetime));
        for path in [&["n"][..], &["nope"], &["rec"], &["day", "at"], &[]] {
            check(path, None);
        }
    }

    #[test]
    fn a_memo_stays_within_its_bound_and_forgets_in_time() {
        let memo = Memo::<u32, u32>::new(2);
        let at = |hours| Timestamp::saturating(0).plus(Duration::from_hours(hours));
        let put = |key, now: Timestamp| memo.slot(&key, now).set(key).is_ok();
        assert!(put(1, at(0)) && put(2, at(0).plus(Duration::from_secs(1))));
        assert!(!put(1, at(0)), "still known");
        assert!(put(3, at(0).plus(Duration::from_secs(2))));
        assert_eq!(memo.slots.lock().len(), 2);
        assert!(put(1, at(0).plus(Duration::from_secs(3))), "the oldest made way");
        memo.forget(&1, at(0).plus(Duration::from_secs(4)));
        assert!(put(1, at(0).plus(Duration::from_secs(4))));
        assert!(put(3, at(2)), "an hour has passed");
    }
}
