//! Random SQL: texts that may be answered in parts, and their neighbours that may not. It knows the
//! names of the tables and nothing of the analysis.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::Union;

use super::phrases::{
    AGGREGATES, BUCKETS, COLUMNS, CONDITIONS, DIMENSIONS, HAVINGS, NAMES, ORDERS, QUALIFIES, ROW_ORDERS, Slot, TIMES,
    WINDOWS, WRAPS,
};

/// A text, and what `$__interval` stands for.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub(crate) sql: String,
    pub(crate) step: &'static str,
}

/// Where rows come from, and how the outermost SELECT names what it reads of them.
#[derive(Clone, Copy, Debug)]
struct Source {
    with: &'static str,
    from: &'static str,
    time: &'static str,
    qualifier: &'static str,
}

/// The sources of `sources.txt` of one kind.
fn of(kind: &str) -> Vec<Source> {
    let lines = include_str!("sources.txt").lines().filter_map(|line| line.strip_prefix(kind));
    let read = |line: &'static str| {
        let mut parts = line.split(" | ");
        let mut part = || parts.next().unwrap_or_default().trim();
        let (time, from, with) = (part(), part(), part());
        Source { with, from, time, qualifier: time.find('.').map_or("", |dot| &time[..=dot]) }
    };
    lines.map(read).collect()
}

fn sources() -> impl Strategy<Value = Source> {
    prop_oneof![
        14 => prop::sample::select(of("plain ")),
        6 => prop::sample::select(of("join ")),
        2 => prop::sample::select(of("odd ")),
    ]
}

/// How GROUP BY names its keys, and which.
#[derive(Clone, Copy, Debug)]
enum Grouping {
    Places,
    Names,
    Expressions,
    All,
    WithAnother,
    WithoutBucket,
    WithoutLast,
    Rollup,
    Nothing,
}

fn slot(phrases: Slot) -> Union<Just<&'static str>> {
    Union::new_weighted(phrases.iter().map(|(weight, phrase)| (*weight, Just(*phrase))).collect())
}

fn groupings() -> impl Strategy<Value = Grouping> {
    prop_oneof![
        30 => Just(Grouping::Places),
        20 => Just(Grouping::Names),
        12 => Just(Grouping::Expressions),
        6 => Just(Grouping::All),
        4 => Just(Grouping::WithAnother),
        1 => Just(Grouping::WithoutBucket),
        1 => Just(Grouping::WithoutLast),
        1 => Just(Grouping::Rollup),
        1 => Just(Grouping::Nothing),
    ]
}

/// Any text, of buckets or of rows.
pub(crate) fn texts() -> impl Strategy<Value = Text> {
    let steps = prop::sample::select(vec!["1h", "5m", "6h", "1d", "7h", "1w"]);
    let body = prop_oneof![6 => buckets(), 1 => rows()];
    (sources(), body, slot(CONDITIONS), slot(WRAPS), steps, any::<bool>()).prop_map(
        |(source, (outputs, rest), condition, wrap, step, is_written)| {
            // Most steps below a day cannot cut a DATE; some are left.
            let step = match step {
                "5m" if reads_dates(source) => "1d",
                "6h" if reads_dates(source) => "1w",
                step => step,
            };
            let body = format!("{} SELECT {outputs} FROM {} WHERE {condition} {rest}", source.with, source.from);
            let sql = wrap.replace("{s}", &filled(body.trim(), source));
            Text { sql: sql.replace("{i}", if is_written { step } else { "$__interval" }), step }
        },
    )
}

fn reads_dates(source: Source) -> bool {
    [source.with, source.from].iter().any(|text| text.contains("p.d.days"))
}

/// Outputs and what follows the condition, of a text that groups.
fn buckets() -> BoxedStrategy<(String, String)> {
    let outputs = (
        slot(BUCKETS),
        vec(slot(DIMENSIONS), 0..3),
        vec(slot(AGGREGATES), 1..4),
        slot(NAMES),
        any::<bool>(),
        prop::bool::weighted(0.08),
    );
    let rest = (groupings(), slot(HAVINGS), slot(WINDOWS), slot(QUALIFIES), slot(ORDERS));
    (outputs, rest)
        .prop_map(|((bucket, dimensions, aggregates, name, is_last, distinct), rest)| {
            let (grouping, having, window, qualify, order) = rest;
            let mut keys = vec![bucket];
            for dimension in dimensions {
                // Names are distinct, as sources demand.
                if keys.iter().all(|key| split(key).1 != split(dimension).1) {
                    keys.push(dimension);
                }
            }
            if is_last {
                keys.rotate_left(1);
            }
            let name = if keys.iter().any(|key| split(key).1 == name) { "v0" } else { name };
            let measures = aggregates.iter().enumerate().map(|(at, aggregate)| match at {
                0 => format!("{aggregate} AS {name}"),
                at => format!("{aggregate} AS v{at}"),
            });
            let outputs: Vec<String> = keys.iter().map(|key| (*key).to_owned()).chain(measures).collect();
            let window = if aggregates.iter().any(|aggregate| aggregate.ends_with("OVER w")) { window } else { "" };
            let distinct = if distinct { "DISTINCT " } else { "" };
            let group = group_by(&keys, bucket, grouping);
            (format!("{distinct}{}", outputs.join(", ")), format!("{group} {having} {window} {qualify} {order}"))
        })
        .boxed()
}

/// An output's expression and its name.
fn split(output: &'static str) -> (&'static str, &'static str) {
    output.rsplit_once(" AS ").unwrap_or((output, output))
}

fn group_by(keys: &[&'static str], bucket: &str, grouping: Grouping) -> String {
    // A constant is no key.
    let keyed = keys.iter().enumerate().filter(|(_, key)| !key.starts_with('\''));
    let names = |is_named: bool| {
        let name = |key: &'static str| if is_named { split(key).1 } else { split(key).0 };
        keyed.clone().map(|(_, key)| name(key)).collect::<Vec<_>>().join(", ")
    };
    let places = |is_left: &dyn Fn(usize, &str) -> bool| {
        let places = keyed.clone().filter(|(at, key)| is_left(*at, key)).map(|(at, _)| (at + 1).to_string());
        places.collect::<Vec<_>>().join(", ")
    };
    let keys = match grouping {
        Grouping::Places => places(&|_, _| true),
        Grouping::Names => names(true),
        Grouping::Expressions => names(false),
        Grouping::All => "ALL".to_owned(),
        Grouping::WithAnother => format!("{}, {{q}}x", places(&|_, _| true)),
        Grouping::WithoutBucket => places(&|_, key| key != bucket),
        Grouping::WithoutLast => places(&|at, _| at + 1 < keys.len()),
        Grouping::Rollup => format!("ROLLUP({})", names(false)),
        Grouping::Nothing => String::new(),
    };
    if keys.is_empty() { keys } else { format!("GROUP BY {keys}") }
}

/// Outputs and what follows the condition, of a text of raw rows.
fn rows() -> BoxedStrategy<(String, String)> {
    (slot(TIMES), vec(slot(COLUMNS), 0..3), slot(ROW_ORDERS), prop::bool::weighted(0.05))
        .prop_map(|(time, columns, order, distinct)| {
            let outputs: Vec<&str> = std::iter::once(time).chain(columns).collect();
            (format!("{}{}", if distinct { "DISTINCT " } else { "" }, outputs.join(", ")), order.to_owned())
        })
        .boxed()
}

/// The phrases of one SELECT over a source.
fn filled(body: &str, source: Source) -> String {
    let label = if source.from.contains("names` AS m") { "m.label" } else { "UPPER({q}branch)" };
    // What is filtered or grouped within the source is not so again, but for the odd condition.
    let filter = if body.contains("{F}") { "{q}n IS NOT NULL" } else { "$__timeFilter({c})" };
    let bucket = if body.contains("{B}") { "t" } else { "$__timeGroup({c}, {i})" };
    body.replace("{l}", label)
        .replace("{f}", filter)
        .replace("{b}", bucket)
        .replace("{F}", "$__timeFilter(ts)")
        .replace("{B}", "$__timeGroup(ts, {i})")
        .replace("{c}", source.time)
        .replace("{q}", source.qualifier)
}
