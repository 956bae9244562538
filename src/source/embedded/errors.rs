//! The engine's errors in `BigQuery`'s words and Weir's kinds.

use datafusion::arrow::error::ArrowError;
use datafusion::common::{DataFusionError, SchemaError};
use weir_plan::{Error, Kind};

use super::syntax::Words;

/// An error of planning or running a query whose words are known.
pub(super) fn of(error: DataFusionError, words: &Words) -> Error {
    match error {
        DataFusionError::External(cause) => match cause.downcast::<Error>() {
            Ok(error) => *error,
            Err(cause) => Error::internal("the embedded engine failed").with_source(DataFusionError::External(cause)),
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => of(*inner, words),
        DataFusionError::Collection(errors) => match errors.into_iter().next() {
            Some(first) => of(first, words),
            None => Error::internal("the embedded engine failed without a reason"),
        },
        DataFusionError::Shared(shared) => of_shared(&shared, words),
        DataFusionError::SchemaError(error, _) => of_schema(&error, words),
        DataFusionError::NotImplemented(what) => {
            Error::invalid(format!("the embedded engine does not support this: {what}"))
        }
        DataFusionError::Plan(message) | DataFusionError::Execution(message) => of_message(message),
        DataFusionError::SQL(error, _) => Error::invalid(format!("Syntax error: {error}")),
        DataFusionError::ArrowError(error, context) => match *error {
            ArrowError::DivideByZero => Error::invalid("division by zero"),
            ArrowError::ExternalError(cause) => match cause.downcast::<DataFusionError>() {
                Ok(inner) => of(*inner, words),
                Err(cause) => {
                    Error::internal("the embedded engine failed").with_source(ArrowError::ExternalError(cause))
                }
            },
            error @ (ArrowError::CastError(_)
            | ArrowError::ParseError(_)
            | ArrowError::ComputeError(_)
            | ArrowError::ArithmeticOverflow(_)
            | ArrowError::InvalidArgumentError(_)) => Error::invalid(error.to_string()),
            error => Error::internal("the embedded engine failed")
                .with_source(DataFusionError::ArrowError(Box::new(error), context)),
        },
        error @ DataFusionError::ResourcesExhausted(_) => {
            Error::new(Kind::Overloaded, "the query needs more memory than the embedded engine has").with_source(error)
        }
        error => Error::internal("the embedded engine failed").with_source(error),
    }
}

/// The engine's words, but for two columns of one name.
fn of_message(message: String) -> Error {
    let Some(rest) = message.strip_prefix("Projections require unique expression names but the expression \"") else {
        return Error::invalid(message);
    };
    let first = rest.split('"').next().unwrap_or(rest);
    let name = first.rsplit(" AS ").next().unwrap_or(first);
    duplicate(name.rsplit('.').next().unwrap_or(name))
}

/// Errors that several consumers of one input share cannot be taken apart; their text is kept.
fn of_shared(error: &DataFusionError, words: &Words) -> Error {
    match error {
        DataFusionError::External(cause) => match cause.downcast_ref::<Error>() {
            Some(error) => error.clone(),
            None => Error::internal(cause.to_string()),
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => of_shared(inner, words),
        DataFusionError::Shared(inner) => of_shared(inner, words),
        DataFusionError::Plan(message) | DataFusionError::Execution(message) => Error::invalid(message.clone()),
        DataFusionError::ArrowError(error, _) => match &**error {
            ArrowError::DivideByZero => Error::invalid("division by zero"),
            other => Error::invalid(other.to_string()),
        },
        other => Error::internal(other.to_string()),
    }
}

fn of_schema(error: &SchemaError, words: &Words) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => match &field.relation {
            Some(relation) if valid_fields.iter().any(|valid| valid.relation.as_ref() == Some(relation)) => {
                Error::invalid(format!(
                    "Name {} not found inside {}{}",
                    field.name,
                    relation.table(),
                    words.place_of(&field.name)
                ))
            }
            Some(relation) => {
                Error::invalid(format!("Unrecognized name: {}{}", relation.table(), words.place_of(relation.table())))
            }
            None => Error::invalid(format!("Unrecognized name: {}{}", field.name, words.place_of(&field.name))),
        },
        SchemaError::AmbiguousReference { field } => {
            Error::invalid(format!("Column name {} is ambiguous{}", field.name, words.place_of(&field.name)))
        }
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            duplicate(name)
        }
    }
}

/// `BigQuery`'s words for two columns of one name.
pub(super) fn duplicate(name: &str) -> Error {
    Error::invalid(format!("Duplicate column names in the result are not supported. Found duplicate(s): {name}"))
}
