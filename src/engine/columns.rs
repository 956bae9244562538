//! The types of the columns in time macros, from the schemas of their tables: looked up before a query
//! is planned, and then known for minutes, so that a query hardly ever pays for it. What cannot be
//! found out is a TIMESTAMP; it never fails a query.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Schema};
use futures::future::join_all;
use weir_plan::columns::{TimeColumn, column_types, time_columns};
use weir_plan::{Dialect, Query, Scope, TableId, TimeType, Timestamp};

use super::Engine;
use super::memo::Memo;
use crate::source::Table;

/// How long types are taken for true; the catalog remembers descriptions as long.
const LIFETIME: Duration = Duration::from_mins(5);

/// How long a failed lookup is not tried again.
pub(super) const FAILURE_LIFETIME: Duration = Duration::from_mins(1);

/// How long a query waits for a schema.
const PATIENCE: Duration = Duration::from_secs(5);

/// Texts and tables that are known at a time: more than a Grafana has panels, a few MB of texts.
pub(super) const CAPACITY: usize = 1024;

type Types = BTreeMap<String, TimeType>;

/// What is known.
pub(super) struct Columns {
    texts: Memo<Text, Types>,
    /// Tables that could not be described.
    missing: Memo<(Scope, u64, TableId), ()>,
}

/// What the columns of a query depend on.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Text {
    sql: String,
    dialect: Dialect,
    table: Option<String>,
    time_column: Option<String>,
    default_dataset: Option<String>,
    scope: Scope,
    generation: u64,
}

impl Default for Columns {
    fn default() -> Self {
        Self { texts: Memo::new(CAPACITY, LIFETIME), missing: Memo::new(CAPACITY, FAILURE_LIFETIME) }
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
            table: query.target.table.clone(),
            time_column: query.target.time_column.clone(),
            default_dataset: query.default_dataset.clone(),
            scope: query.scope.clone(),
            generation: self.shared.store.generation(&self.identity),
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
        let (columns, schemas) = self.time_tables(query, now).await;
        if schemas.values().any(Option::is_none) {
            self.columns.texts.forget(text, now.plus(FAILURE_LIFETIME));
        }
        let mut types = column_types(&columns, |table, path| time_type(&schemas.get(table)?.as_ref()?.schema, path));
        types.retain(|_, time_type| *time_type != TimeType::Timestamp);
        types
    }

    /// The columns in a query's time macros, and the tables that may have them, described where that
    /// is to be had.
    pub(super) async fn time_tables(
        &self,
        query: &Query,
        now: Timestamp,
    ) -> (Vec<TimeColumn>, HashMap<TableId, Option<Arc<Table>>>) {
        let project = &self.source.identity().project;
        let columns = time_columns(&query.sql, &query.target, query.default_dataset.as_deref(), project);
        let tables: BTreeSet<&TableId> =
            columns.iter().flat_map(|column| &column.candidates).map(|(table, _)| table).collect();
        let described =
            tables.into_iter().map(|table| async move { (table.clone(), self.described(query, table, now).await) });
        let described = join_all(described).await.into_iter().collect();
        (columns, described)
    }

    /// The description of a table, `None` where there is none to be had.
    async fn described(&self, query: &Query, table: &TableId, now: Timestamp) -> Option<Arc<Table>> {
        let generation = self.shared.store.generation(&self.identity);
        let missing = self.columns.missing.slot(&(query.scope.clone(), generation, table.clone()), now);
        if missing.initialized() {
            return None;
        }
        let found = tokio::time::timeout(PATIENCE, self.table(table)).await;
        if let Ok(Ok(table)) = found {
            return Some(table);
        }
        tracing::debug!(%table, ?found, "no description; the columns in time macros are taken for TIMESTAMP");
        // Another one may have found out the same meanwhile.
        let _ = missing.set(());
        None
    }
}

/// Whether every time macro is about one column whose type is given.
fn knows_its_column(query: &Query) -> bool {
    let target = &query.target;
    target.dialect == Dialect::Doitintl && target.time_column.is_some() && !target.column_types.is_empty()
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
    type_of_time(find(fields, last)?.data_type())
}

/// Which type of time a column's type is, if it is one.
pub(super) fn type_of_time(data_type: &DataType) -> Option<TimeType> {
    match data_type {
        DataType::Timestamp(_, Some(_)) => Some(TimeType::Timestamp),
        DataType::Timestamp(_, None) => Some(TimeType::Datetime),
        DataType::Date32 => Some(TimeType::Date),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::parts::tests::Place;
    use crate::source::embedded::TableSpec;
    use arrow::datatypes::{Field, Fields, TimeUnit};
    use std::sync::Arc;

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

    #[tokio::test]
    async fn one_text_over_the_tables_of_several_targets_has_the_types_of_each() {
        let place = Place::new();
        let typed = async |name: &str, data_type| {
            let schema = Arc::new(Schema::new(vec![Field::new("day", data_type, true)]));
            place
                .source
                .create_table(TableSpec { id: TableId::new("p", "d", name), schema, partitioning: None })
                .unwrap();
            let mut query = Query::new("SELECT day FROM $__table WHERE $__timeFilter(day)");
            query.target.table = Some(format!("p.d.{name}"));
            place.engine.typed(&query).await.target.column_types.get("day").copied()
        };
        assert_eq!(typed("dates", DataType::Date32).await, Some(TimeType::Date));
        assert_eq!(typed("moments", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))).await, None);
        assert_eq!(typed("civil", DataType::Timestamp(TimeUnit::Microsecond, None)).await, Some(TimeType::Datetime));
    }
}
