//! The queries of `tests/boards` after `weir migrate`, each asked of the embedded source, of the fake server
//! and of bqemulator.
//!
//! What Grafana is shown of them is the business of `tests/host-go`.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};
use weir::app::App;
use weir::board::{Board, Item, Variables};
use weir::cache::StoreSettings;
use weir::clock::ManualClock;
use weir::engine::{Door, Engine, EngineSettings};
use weir::plugin;
use weir::source::Source;
use weir::source::bigquery::BigQuery;
use weir_plan::{Extent, Query, Timestamp};

use super::cell::{rows, same_rows};
use super::dataset::{NOW, embedded};
use super::{config, fake, seeded_emulator};
use crate::support::process::weir;
use crate::support::python::repository;

/// The files, and how many queries with SQL each holds.
const FILES: [(&str, usize); 10] = [
    ("alert-rules.yaml", 2),
    ("arrays-export.json", 4),
    ("doitintl-export.json", 3),
    ("doitintl-sharded.json", 1),
    ("grafana7-doitintl.json", 7),
    ("library-panel.json", 1),
    ("objects.json", 6),
    ("v2.json", 5),
    ("v2alpha1.json", 3),
    ("v2beta1.yaml", 2),
];

/// Queries that fail, by file and a part of their SQL, with the error's code.
const FAILING: [(&str, &str, &str); 3] = [
    ("arrays-export.json", "SELECT [a, b]", "invalid_query"),
    ("doitintl-export.json", "_TABLE_SUFFIX", "invalid_query"),
    // Postgres's.
    ("grafana7-doitintl.json", "FROM events", "invalid_query"),
];

/// What bqemulator cannot do, as in `cannot.toml`: by file and a part of the SQL, with what the difference
/// shows.
const CANNOT: [(&str, &str, &str); 2] = [
    // Its translation of DISTINCT together with IGNORE NULLS is no SQL.
    ("arrays-export.json", "DISTINCT branch IGNORE NULLS", "bqemulator: Err(\"invalid_query: Syntax error"),
    // It names a column without a name otherwise than BigQuery.
    ("grafana7-doitintl.json", "SELECT 1", "the columns [\"f0_\"], not [\"1\"]"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_a_migrated_board_has_the_rows_that_bqemulator_gives() {
    let emulator = seeded_emulator().await;
    let client = BigQuery::connect(&config(emulator.rest_url(), emulator.storage_url(), None)).await.unwrap();
    let fake = fake().await;
    let before_fake = BigQuery::connect(&config(fake.rest_url(), fake.storage_url(), None)).await.unwrap();
    let ours = [("embedded", engine(embedded())), ("fake", engine(Arc::new(before_fake)))];
    let judge = engine(Arc::new(client));
    let folder = tempfile::tempdir().unwrap();
    let mut differences = Vec::new();
    for (name, count) in FILES {
        let models = models(name, &migrated(folder.path(), name));
        assert_eq!(models.len(), count, "{name}");
        for model in models {
            let query = query(&model);
            let exception = CANNOT.iter().find(|(file, part, _)| *file == name && query.sql.contains(part));
            for (who, ours) in &ours {
                let difference = match (compare(ours, &judge, name, &query).await, exception) {
                    (Ok(()), None) => continue,
                    (Err(difference), Some((.., shows))) if difference.contains(shows) => continue,
                    (Ok(()), Some(_)) => "bqemulator can do it".to_owned(),
                    (Err(difference), _) => difference,
                };
                differences.push(format!("{name}: {who}: {difference}\n{}", query.sql));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

/// A file's text after its migration.
fn migrated(folder: &Path, name: &str) -> String {
    let path = folder.join(name);
    std::fs::copy(repository("tests/boards").join(name), &path).unwrap();
    let options = ["--datasource", "Telemetry BQ", "--datasource", "Other BQ"];
    let output = weir(["migrate"]).args(options).arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(matches!(output.status.code(), Some(0 | 2)), "{name}: {said}");
    std::fs::read_to_string(path).unwrap()
}

/// The queries with SQL of a file: in JSON wherever they are, in YAML those of panels and rules.
fn models(name: &str, text: &str) -> Vec<Map<String, Value>> {
    if Path::new(name).extension().is_none_or(|end| end != "yaml") {
        // A number that only a browser reads, as infinity.
        return objects(&serde_json::from_str(&text.replace("1E400", "null")).unwrap());
    }
    let boards = Board::read(Path::new(name), text.to_owned()).unwrap();
    let model = |item| match item {
        Item::Target(target) if target.model.contains_key("rawSql") => Some(target.model.clone()),
        _ => None,
    };
    boards.iter().flat_map(|board| board.items().into_iter().filter_map(model).collect::<Vec<_>>()).collect()
}

/// The objects that hold a query's SQL.
fn objects(tree: &Value) -> Vec<Map<String, Value>> {
    match tree {
        Value::Object(object) if object.contains_key("rawSql") => vec![object.clone()],
        Value::Object(object) => object.values().flat_map(objects).collect(),
        Value::Array(values) => values.iter().flat_map(objects).collect(),
        _ => vec![],
    }
}

/// The question of a query about the tests' present and its experiment, in four weeks of half hours.
fn query(model: &Map<String, Value>) -> Query {
    let mut variables = Variables::default();
    variables.set("experiment", "exp-a");
    let mut model = model.clone();
    for value in model.values_mut() {
        if let Value::String(text) = value {
            *text = variables.replace(text).unwrap();
        }
    }
    let at = |text: &str| Timestamp::parse(text, Timestamp::parse(NOW, Timestamp::MIN).unwrap()).unwrap();
    let range = Extent::new(at("now-28d"), at("now")).unwrap();
    plugin::query_of_target(&model, Some(range), 1_800_000).unwrap()
}

fn engine(source: Arc<dyn Source>) -> Arc<Engine> {
    let clock = Arc::new(ManualClock::new(Timestamp::parse(NOW, Timestamp::MIN).unwrap()));
    App::new(StoreSettings::of(64 << 20), clock, App::GRACE).add_source("main", source, EngineSettings::default())
}

async fn compare(ours: &Arc<Engine>, judge: &Arc<Engine>, name: &str, query: &Query) -> Result<(), String> {
    let failing = FAILING.iter().find(|(file, part, _)| *file == name && query.sql.contains(part));
    let (found, expected) = (answer(ours, query).await, answer(judge, query).await);
    match (found, expected, failing) {
        (Ok((names, found)), Ok((expected_names, expected)), None) => {
            if names != expected_names {
                return Err(format!("the columns {names:?}, not {expected_names:?}"));
            }
            if found.is_empty() {
                return Err("no rows".to_owned());
            }
            same_rows(&found, &expected, false)
        }
        (Err(found), Err(_), Some((.., code))) if found.starts_with(code) => Ok(()),
        (found, expected, _) => Err(format!("ours: {found:?}; bqemulator: {expected:?}")),
    }
}

/// The names of the columns and the rows, or the error's code and message.
async fn answer(engine: &Arc<Engine>, query: &Query) -> Result<(Vec<String>, Vec<Value>), String> {
    let answer = engine.answer(query, Door::Grafana).await;
    let answer = answer.map_err(|error| format!("{}: {}", error.kind().row().code, error.message()))?;
    let batch = answer.batches.concat().map_err(|error| error.message().to_owned())?;
    Ok((batch.schema().fields().iter().map(|field| field.name().clone()).collect(), rows(&batch)?))
}
