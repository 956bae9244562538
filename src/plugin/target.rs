//! Which data source's editor wrote a target, and what its macros stand for (Grafana contract, §1
//! and §2).

use serde_json::{Map, Value};
use weir_plan::target::plain_name;
use weir_plan::{Dialect, Error, Result, Target, TimeType};

use super::keys::Keys;

/// Keys that only doitintl's editor writes. `convertToUTC` is none of them: it says nothing of macros.
const MARKS: [&str; 5] = ["timeColumn", "timeColumnType", "metricColumn", "orderByCol", "orderBySort"];

/// What doitintl's editor writes where nothing is chosen yet.
const PLACEHOLDERS: [&str; 2] = ["-- time --", "-- value --"];

/// Where doitintl's editor reads partitions of ingestion time.
const PARTITION_TIME: &str = "_PARTITIONTIME";

/// Whose editor wrote a target: the data source it names tells, and where that is neither of the
/// others', its keys.
pub(super) fn dialect(object: &Map<String, Value>) -> Dialect {
    match object.get("datasource").and_then(|source| source.get("type")).and_then(Value::as_str) {
        Some("doitintl-bigquery-datasource") => Dialect::Doitintl,
        Some("grafana-bigquery-datasource") => Dialect::Official,
        _ if MARKS.iter().any(|key| object.contains_key(*key)) => Dialect::Doitintl,
        _ => Dialect::Official,
    }
}

/// What the macros of a target stand for; `table` is its table and what that is in, outermost first.
///
/// # Errors
/// `InvalidQuery` naming the key.
pub(super) fn target(object: &Map<String, Value>, table: &[Option<&str>], points: Option<u64>) -> Result<Target> {
    let keys = Keys::new(object, "");
    let dialect = dialect(object);
    let mut target = Target { dialect, max_data_points: points, ..Target::default() };
    if table.last().is_some_and(Option::is_some) {
        let parts: Vec<_> = table.iter().copied().flatten().collect();
        target.table = Some(named("table", &parts.join("."))?.to_owned());
    }
    target.time_column = match keys.text("timeColumn")? {
        Some(column) if !PLACEHOLDERS.contains(&column) => Some(named("timeColumn", column)?.to_owned()),
        _ => None,
    };
    if let (Some(column), Some(written)) = (&target.time_column, keys.text("timeColumnType")?) {
        let time_type = TimeType::parse(written).ok_or_else(|| {
            Error::invalid(format!("timeColumnType {written:?} is none of TIMESTAMP, DATE, DATETIME; choose one"))
        })?;
        target.column_types.extend(plain_name(&format!("`{column}`")).map(|name| (name, time_type)));
    }
    if dialect == Dialect::Doitintl && keys.value("rawQuery") == Some(&Value::Bool(false)) {
        let column = keys.text("partitionedField")?.unwrap_or(PARTITION_TIME);
        target.partition_column = Some(column.to_owned());
    }
    Ok(target)
}

/// # Errors
/// `InvalidQuery` for a text of doitintl's editor in which something is still to be chosen.
pub(super) fn finished(sql: &str, dialect: Dialect) -> Result<()> {
    let placeholder = PLACEHOLDERS.iter().find(|text| dialect == Dialect::Doitintl && sql.contains(**text));
    match placeholder {
        None => Ok(()),
        Some(&text) => {
            let key = if text == PLACEHOLDERS[0] { "timeColumn" } else { "the value's column" };
            Err(Error::invalid(format!("rawSql still has the placeholder {text:?}; choose {key} in the editor")))
        }
    }
}

/// A name that can stand in backticks.
fn named<'a>(key: &str, name: &'a str) -> Result<&'a str> {
    if name.contains(['`', '\\', '\n', '\r']) {
        return Err(Error::invalid(format!("{key} {name:?} is not a name")));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: &Value) -> Result<Target> {
        let object = value.as_object().unwrap();
        let text = |key: &str| object.get(key).and_then(Value::as_str);
        target(object, &[text("project"), text("dataset"), text("table")], Some(900))
    }

    #[test]
    fn a_doitintl_target_is_known_by_its_source_or_its_keys() {
        let check = |value: Value, expected: Dialect| {
            assert_eq!(dialect(value.as_object().unwrap()), expected, "{value}");
        };
        check(json!({"rawSql": "SELECT 1", "format": "time_series"}), Dialect::Official);
        check(json!({"datasource": {"type": "doitintl-bigquery-datasource"}}), Dialect::Doitintl);
        check(json!({"datasource": {"type": "grafana-bigquery-datasource"}, "timeColumn": "t"}), Dialect::Official);
        check(json!({"datasource": {"type": "weir-bigquery-datasource"}, "timeColumn": "t"}), Dialect::Doitintl);
        check(json!({"datasource": "BigQuery", "metricColumn": "none"}), Dialect::Doitintl);
        check(json!({"datasource": null, "orderBySort": "1"}), Dialect::Doitintl);
        check(json!({"datasource": null, "convertToUTC": true}), Dialect::Official);
        check(json!({"convertToUTC": true, "metricColumn": "none"}), Dialect::Doitintl);
        check(json!({"partitioned": true, "sharded": false, "rawQuery": true}), Dialect::Official);
    }

    #[test]
    fn macros_stand_for_what_the_target_names() {
        let found = read(&json!({
            "project": "p", "dataset": "d", "table": "t", "timeColumn": "Created", "timeColumnType": "date",
            "rawQuery": false, "partitioned": true,
        }))
        .unwrap();
        assert_eq!(found.table.as_deref(), Some("p.d.t"));
        assert_eq!(found.time_column.as_deref(), Some("Created"));
        assert_eq!(found.type_of("created"), TimeType::Date);
        assert_eq!(found.partition_column.as_deref(), Some("_PARTITIONTIME"));
        let unchosen = read(&json!({"timeColumn": "-- time --", "timeColumnType": "DATE", "rawQuery": true})).unwrap();
        let expected = Target { dialect: Dialect::Doitintl, max_data_points: Some(900), ..Target::default() };
        assert_eq!(unchosen, expected, "the type of a column that is not chosen says nothing");
        assert_eq!(read(&json!({"dataset": "d"})).unwrap().table, None);
    }

    #[test]
    fn errors_name_the_key() {
        let check = |value: Value, expected: &str| {
            let error = read(&value).unwrap_err();
            assert!(error.message().contains(expected), "{value}: {error}");
        };
        check(json!({"table": "a`b"}), "table \"a`b\" is not a name");
        check(json!({"timeColumn": 3}), "timeColumn is a number");
        check(json!({"timeColumn": "a\\"}), "timeColumn");
        check(json!({"timeColumn": "a", "timeColumnType": "STRING"}), "timeColumnType \"STRING\" is none of");
        let error = finished("SELECT `a` FROM t WHERE $__timeFilter(-- time --)", Dialect::Doitintl).unwrap_err();
        assert!(error.message().contains("choose timeColumn"), "{error}");
        assert!(finished("SELECT `-- value --`", Dialect::Doitintl).is_err());
        assert!(finished("SELECT 1 -- time --", Dialect::Official).is_ok());
    }
}
