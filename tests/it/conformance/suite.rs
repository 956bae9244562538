//! Puts every case to a source, and tells what differs.

use arrow::datatypes::{Schema, SchemaRef};
use serde_json::Value;
use weir::source::{Job, Source};
use weir_plan::{Error, Result, Step, Target, macros};

use super::case::{Cannot, Case, Question, cannot, cases};
use super::cell::{rows, same_rows};
use super::google_type::{same_type, schema};

/// Puts every case to `source`; `oracle` answers where a case does not write its rows out.
///
/// Panics with all that differs, exceptions of `cannot.toml` that no longer hold included.
pub(crate) async fn check(implementation: &str, source: &dyn Source, oracle: &dyn Source) {
    let only = std::env::var("WEIR_CASE").unwrap_or_default();
    let cases: Vec<_> = cases().into_iter().filter(|case| case.name.contains(&only)).collect();
    assert!(!cases.is_empty(), "no case has {only:?} in its name");
    let exceptions = cannot();
    let mut differences = Vec::new();
    for case in &cases {
        for question in [Question::Answer, Question::DryRun] {
            let outcome = match question {
                Question::Answer => answer(case, source, oracle).await,
                Question::DryRun => dry_run(case, source).await,
            };
            let exception = exceptions.iter().find(|exception| exception.is_about(case, implementation, question));
            let difference = match (outcome, exception) {
                (Err(difference), None) => format!("{difference}\n{}", case.sql.trim()),
                (Ok(()), Some(exception)) => format!("works, but cannot.toml says it cannot: {}", exception.why),
                (Err(difference), Some(exception)) if !exception.shows.iter().any(|part| difference.contains(part)) => {
                    format!("cannot.toml says that the difference shows {:?}, but: {difference}", exception.shows)
                }
                (Ok(()), None) | (Err(_), Some(_)) => continue,
            };
            differences.push(format!("{} ({question:?}): {}", case.name, difference.replace('\n', "\n    ")));
        }
    }
    assert!(
        differences.is_empty(),
        "{implementation}: {} of {} questions answered otherwise\n{}",
        differences.len(),
        2 * cases.len(),
        differences.join("\n")
    );
}

impl Cannot {
    fn is_about(&self, case: &Case, implementation: &str, question: Question) -> bool {
        self.what.contain(question)
            && self.cases.contains(&case.name)
            && self.implementations.iter().any(|name| name == implementation)
    }
}

fn job(case: &Case) -> Job {
    let step: Option<Step> = case.step.as_ref().map(|step| step.parse().unwrap());
    let range = case.range();
    let sql = match (range, step) {
        (None, None) => case.sql.clone(),
        _ => macros::expand(&case.sql, range, step, &Target::default()).unwrap().sql,
    };
    let mut job = Job::new(format!("conformance-{}-{}", case.name, uuid::Uuid::new_v4()), sql);
    job.parameters = case.parameters();
    job.default_dataset.clone_from(&case.default_dataset);
    job
}

async fn answer(case: &Case, source: &dyn Source, oracle: &dyn Source) -> Result<(), String> {
    let (found_schema, found) = match (source.run(job(case)).await, &case.error) {
        (Err(error), Some(code)) => return expect_error(case, code, &error),
        (Err(error), None) => return Err(format!("{error:?}")),
        (Ok(_), Some(code)) => return Err(format!("an answer, not the error {code}")),
        (Ok(outcome), None) => read(&outcome.batches)?,
    };
    expect_columns(case, &found_schema)?;
    let expected = match case.rows() {
        Some(expected) => expected,
        None => read(&oracle.run(job(case)).await.map_err(|error| format!("the oracle: {error:?}"))?.batches)?.1,
    };
    if let Some(count) = case.count
        && found.len() != count
    {
        return Err(format!("{} rows instead of {count}", found.len()));
    }
    let expected: Vec<_> = expected.into_iter().map(|row| normal_json(case, row)).collect();
    let found: Vec<_> = found.into_iter().map(|row| normal_json(case, row)).collect();
    same_rows(&found, &expected, case.ordered)
}

async fn dry_run(case: &Case, source: &dyn Source) -> Result<(), String> {
    match (source.dry_run(&job(case)).await, &case.error) {
        (Err(error), Some(code)) => expect_error(case, code, &error),
        (Err(error), None) => Err(format!("{error:?}")),
        (Ok(_), Some(_)) if case.only_when_run => Ok(()),
        (Ok(_), Some(code)) => Err(format!("an estimate, not the error {code}")),
        (Ok(estimate), None) => expect_columns(case, &estimate.schema),
    }
}

fn read(batches: &weir::batches::Batches) -> Result<(SchemaRef, Vec<Value>), String> {
    let batch = batches.concat().map_err(|error| format!("{error:?}"))?;
    Ok((batch.schema(), rows(&batch)?))
}

fn expect_error(case: &Case, code: &str, error: &Error) -> Result<(), String> {
    let found = error.kind().row().code;
    if found != code {
        return Err(format!("the error {error:?}, not {code}"));
    }
    let message = error.message().to_lowercase();
    match case.names.iter().find(|name| !message.contains(&name.to_lowercase())) {
        None => Ok(()),
        Some(name) => Err(format!("the error does not name {name:?}: {error:?}")),
    }
}

fn expect_columns(case: &Case, found: &Schema) -> Result<(), String> {
    let expected = schema(&case.columns());
    let same = expected.fields().len() == found.fields().len()
        && expected.fields().iter().zip(found.fields()).all(|(expected, found)| {
            expected.name() == found.name() && same_type(expected.data_type(), found.data_type())
        });
    if same { Ok(()) } else { Err(format!("the columns are {}, not {}", show(found), show(&expected))) }
}

fn show(schema: &Schema) -> String {
    let columns: Vec<_> =
        schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
    format!("({})", columns.join(", "))
}

/// JSON columns are compared as JSON: blanks and the spelling of numbers do not count.
fn normal_json(case: &Case, mut row: Value) -> Value {
    let columns = case.columns();
    for (column, cell) in columns.iter().zip(row.as_array_mut().into_iter().flatten()) {
        if column.kind == super::google_type::GoogleType::Scalar("JSON".to_owned())
            && let Some(parsed) = cell.as_str().and_then(|text| serde_json::from_str(text).ok())
        {
            *cell = parsed;
        }
    }
    row
}
