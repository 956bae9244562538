//! A panel's query JSON, in every shape that the official, doitintl's and our own front end write
//! (Grafana contract, §1), as a [`Query`] and the form of its frames.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};
use weir_plan::{CacheControl, CacheMode, Dialect, Error, Extent, Parameter, Query, Result, Step, Timestamp, macros};

use super::headers::Headers;
use super::keys::Keys;
use super::target;

/// What Grafana says about a query outside its JSON.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Envelope {
    /// The asked range.
    pub(super) range: Option<Extent>,
    /// The suggested interval; zero where there is none.
    pub(super) interval_ms: i64,
    /// Points that the panel can draw; zero where nobody says.
    pub(super) max_data_points: i64,
    /// Whether events are asked for, to be drawn over panels.
    pub(super) is_annotation: bool,
}

/// The refId of an annotation's query, whatever the board has.
/// Source: `executeAnnotationQuery.ts` of grafana/grafana.
pub(super) const ANNOTATION: &str = "Anno";

impl Envelope {
    /// An envelope with a range in epoch milliseconds.
    ///
    /// # Errors
    /// `InvalidQuery` for absurd times and a range that ends before it begins.
    pub(super) fn new(range_ms: Option<(i64, i64)>, interval_ms: i64, max_data_points: i64) -> Result<Self> {
        let range = match range_ms {
            None => None,
            Some((from, to)) => Some(Extent::new(Timestamp::from_millis(from)?, Timestamp::from_millis(to)?)?),
        };
        Ok(Self { range, interval_ms, max_data_points, is_annotation: false })
    }
}

/// A query of a panel.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Panel {
    /// The question.
    pub(super) query: Query,
    /// The form of the answer.
    pub(super) shape: Shape,
}

/// The form that frames take. Equal shapes of equal rows have equal bytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shape {
    /// The format.
    pub(super) format: Format,
    /// What stands in the missing cells of a time series.
    pub(super) fill: Fill,
    /// Whether a column named `metric` names the series, as in doitintl's plugin.
    pub(super) metric_names_series: bool,
    /// Whether an ARRAY of scalars is its elements with commas between, as in the official plugin; else
    /// it is JSON.
    pub(super) comma_lists: bool,
    /// Whether the rows are events: their `time` and `timeEnd` are times whatever their type, and their
    /// `tags` have commas between.
    pub(super) annotation: bool,
    /// Where the rows are those of an earlier range, what is done to show them in the present one.
    pub(super) shift: Option<Shift>,
}

impl Shape {
    /// A format with every setting at its default.
    pub(super) fn of(format: Format) -> Self {
        Self {
            format,
            fill: Fill::Null,
            metric_names_series: false,
            comma_lists: false,
            annotation: false,
            shift: None,
        }
    }
}

/// How rows of an earlier range are shown beside those of the present one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shift {
    /// Added to their times.
    pub(super) micros: i64,
    /// The interval as it was written, in the names of their series: `value_shifted_1d`.
    pub(super) interval: String,
}

/// A frame's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One wide frame: a time and a field for each series.
    TimeSeries,
    /// A frame of time and value for each series.
    Multi,
    /// Rows as they are.
    Table,
    /// Rows as they are, to be shown as a log.
    Logs,
    /// Rows as they are, to be shown as a trace.
    Traces,
}

/// What stands in a cell for which there was no row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fill {
    /// The cell before.
    Previous,
    /// Nothing.
    Null,
    /// A number.
    Value(f64),
}

impl Panel {
    /// Reads the JSON of a panel's query.
    ///
    /// # Errors
    /// `InvalidQuery` naming the key.
    pub(super) fn decode(json: &[u8], envelope: Envelope, headers: &Headers) -> Result<Self> {
        let object = match serde_json::from_slice(json) {
            Ok(Value::Object(object)) => object,
            Ok(_) => return Err(Error::invalid("the query is not a JSON object")),
            Err(error) => return Err(Error::invalid(format!("the query is not JSON: {error}"))),
        };
        let shape = shape(&object, envelope.is_annotation)?;
        Ok(Self { shape, query: query(&object, envelope, headers)? })
    }

    /// The panel, and for each `$__timeShifting` of a doitintl target the same over an earlier range,
    /// where it is to be a time series.
    ///
    /// # Errors
    /// `InvalidQuery` for a bad interval.
    pub(super) fn with_shifts(self) -> Result<Vec<Self>> {
        let is_series = matches!(self.shape.format, Format::TimeSeries | Format::Multi);
        let mut panels = vec![self.clone()];
        if let (Dialect::Doitintl, true, Some(range)) = (self.query.target.dialect, is_series, self.query.range) {
            for interval in macros::shifts(&self.query.sql)? {
                let earlier = |at: Timestamp| Timestamp::parse(&format!("now-{interval}"), at);
                let mut panel = self.clone();
                let start = earlier(range.start())?;
                panel.query.range = Some(Extent::new(start, earlier(range.end())?)?);
                let micros = range.start().micros() - start.micros();
                panel.shape.shift = Some(Shift { micros, interval: interval.to_owned() });
                panels.push(panel);
            }
        }
        Ok(panels)
    }
}

/// The form that a query's JSON asks for.
///
/// # Errors
/// `InvalidQuery` naming the key.
pub(super) fn shape(object: &Map<String, Value>, is_annotation: bool) -> Result<Shape> {
    let keys = Keys::new(object, "");
    Ok(Shape {
        format: match format(keys.value("format"))? {
            // Text is what events are about, and would be labels.
            Format::TimeSeries | Format::Multi if is_annotation => Format::Table,
            format => format,
        },
        fill: fill(keys.value("fillMode"))?,
        metric_names_series: target::dialect(object) == Dialect::Doitintl,
        comma_lists: comma_lists(keys)?,
        annotation: is_annotation,
        shift: None,
    })
}

/// The question of a query's JSON, whatever form its answer is to take.
///
/// # Errors
/// `InvalidQuery` naming the key.
pub(super) fn query(object: &Map<String, Value>, envelope: Envelope, headers: &Headers) -> Result<Query> {
    let keys = Keys::new(object, "");
    let nowhere = Map::new();
    let connection = Keys::new(keys.object("connectionArgs")?.unwrap_or(&nowhere), "connectionArgs.");
    let dataset = connection.text("dataset")?.or(keys.text("dataset")?);
    let location = connection.text("location")?.or(keys.text("location")?);
    let table = connection.text("table")?.or(keys.text("table")?);
    let points = u64::try_from(envelope.max_data_points).ok().filter(|points| *points > 0);
    let mut query = Query::new(sql(keys)?);
    query.target = target::target(
        object,
        &[keys.text("project")?, dataset, table],
        match points {
            None => keys.natural("maxDataPoints")?.filter(|points| *points > 0),
            points => points,
        },
    )?;
    target::finished(&query.sql, query.target.dialect)?;
    query.range = envelope.range;
    query.step = step(keys, envelope)?;
    query.parameters = parameters(keys)?;
    query.default_dataset = match (keys.text("project")?, dataset) {
        (Some(project), Some(dataset)) => Some(format!("{project}.{dataset}")),
        (None, Some(dataset)) => Some(dataset.to_owned()),
        (_, None) => None,
    };
    query.location = location.map(str::to_owned);
    query.labels.clone_from(&headers.labels);
    query.principal.clone_from(&headers.principal);
    query.cache = cache(keys)?;
    headers.restrict(&mut query.cache);
    Ok(query)
}

/// `rawSql`, which is always what runs; `sql` where it is a text, as in the export API. (In the
/// official plugin `sql` is the editor's tree.)
fn sql(keys: Keys<'_>) -> Result<&str> {
    let sql = match keys.text("rawSql")? {
        Some(sql) => Some(sql),
        None => keys.value("sql").and_then(Value::as_str).filter(|sql| !sql.trim().is_empty()),
    };
    sql.ok_or_else(|| Error::invalid("rawSql is missing or empty; give the SQL to run"))
}

fn step(keys: Keys<'_>, envelope: Envelope) -> Result<Option<Step>> {
    if let Some(step) = keys.text("step")? {
        return step.parse().map(Some).map_err(|error: Error| error.context("step"));
    }
    let millis = match (envelope.interval_ms, keys.natural("intervalMs")?) {
        (millis @ 1.., _) => millis,
        (_, Some(millis @ 1..)) => i64::try_from(millis).unwrap_or(i64::MAX),
        _ => return Ok(None),
    };
    Step::suggested(millis).map(Some).map_err(|error| error.context("intervalMs"))
}

fn parameters(keys: Keys<'_>) -> Result<BTreeMap<String, Parameter>> {
    let Some(parameters) = keys.object("params")? else { return Ok(BTreeMap::new()) };
    let read = |(name, value): (&String, &Value)| match serde_json::from_value::<Parameter>(value.clone()) {
        Ok(parameter) => Ok((name.clone(), parameter)),
        Err(error) => Err(Error::invalid(format!("params.{name} is not {{\"type\", \"value\"}}: {error}"))),
    };
    parameters.iter().map(read).collect()
}

fn cache(keys: Keys<'_>) -> Result<CacheControl> {
    let mut control = CacheControl {
        fresh_for: keys.natural("queryCachingTTL")?.map(Duration::from_millis),
        ..CacheControl::default()
    };
    if let Some(cache) = keys.object("cache")? {
        let cache = Keys::new(cache, "cache.");
        control.mode = match cache.text("mode")?.unwrap_or("auto") {
            "auto" => CacheMode::Auto,
            "whole" => CacheMode::Whole,
            "off" => CacheMode::Off,
            other => return Err(Error::invalid(format!("cache.mode: {other:?} is none of auto, whole, off"))),
        };
        control.max_stale = cache.natural("maxStalenessMs")?.map(Duration::from_millis);
    }
    Ok(control)
}

fn format(value: Option<&Value>) -> Result<Format> {
    let text = match value {
        None => String::new(),
        Some(Value::String(text)) => text.trim().to_ascii_lowercase(),
        Some(other) => other.to_string(),
    };
    match text.as_str() {
        "" | "0" | "timeseries" | "time_series" => Ok(Format::TimeSeries),
        "4" | "multi" => Ok(Format::Multi),
        "1" | "table" => Ok(Format::Table),
        "2" | "logs" => Ok(Format::Logs),
        "3" | "traces" => Ok(Format::Traces),
        _ => {
            let value = value.unwrap_or(&Value::Null);
            Err(Error::invalid(format!("format {value} is none of time_series, table, logs, traces, multi, 0 to 4")))
        }
    }
}

/// `arrays`, for boards that take the official plugin's lists apart.
fn comma_lists(keys: Keys<'_>) -> Result<bool> {
    match keys.text("arrays")? {
        None | Some("json") => Ok(false),
        Some("comma") => Ok(true),
        Some(other) => Err(Error::invalid(format!("arrays {other:?} is neither json nor comma"))),
    }
}

/// `0`, `"null"`, or `{"mode": 2, "value": 1.5}` with keys in any case, as Go writes them.
fn fill(value: Option<&Value>) -> Result<Fill> {
    let unknown = |value: &Value| {
        Error::invalid(format!("fillMode {value} is none of 0 (previous), 1 (null), 2 (value), or their names"))
    };
    let (mode, number) = match value {
        None => return Ok(Fill::Null),
        Some(Value::Object(object)) => {
            let find =
                |name: &str| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
            (find("mode").unwrap_or(&Value::Null), find("value").and_then(Value::as_f64))
        }
        Some(value) => (value, None),
    };
    let text = mode.as_str().map_or_else(|| mode.to_string(), str::to_ascii_lowercase);
    match text.as_str() {
        "0" | "previous" => Ok(Fill::Previous),
        "1" | "null" => Ok(Fill::Null),
        "2" | "value" => Ok(Fill::Value(number.unwrap_or(0.0))),
        _ => Err(unknown(mode)),
    }
}
