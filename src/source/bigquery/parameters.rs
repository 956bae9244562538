//! Query parameters, `{"type": "INT64", "value": 3}`, become those of the v2 API.
//!
//! It checks that a value has the shape of its type and leaves the rest to `BigQuery`.

use std::collections::{BTreeMap, HashMap};

use gcp_bigquery_client::model::query_parameter::QueryParameter;
use gcp_bigquery_client::model::query_parameter_type::QueryParameterType;
use gcp_bigquery_client::model::query_parameter_type_struct_types::QueryParameterTypeStructTypes;
use gcp_bigquery_client::model::query_parameter_value::QueryParameterValue;
use serde_json::Value;
use weir_plan::{Error, Parameter, Result, Timestamp};

use super::schema::SqlType;
use super::text::timestamp_text;

/// Deepest nesting of ARRAY and STRUCT.
const MAX_DEPTH: usize = 15;

/// Translates parameters.
///
/// # Errors
/// `InvalidQuery`, naming the parameter and what is wrong with its type or value.
pub(super) fn query_parameters(parameters: &BTreeMap<String, Parameter>) -> Result<Vec<QueryParameter>> {
    parameters.iter().map(|(name, parameter)| query_parameter(name, parameter)).collect()
}

fn query_parameter(name: &str, parameter: &Parameter) -> Result<QueryParameter> {
    let named = |error: Error| error.context(format_args!("parameter @{name}"));
    let parameter_type = Type::parse(&parameter.type_name).map_err(named)?;
    let value = parameter_type.value(&parameter.value).map_err(named)?;
    Ok(QueryParameter {
        name: Some(name.to_owned()),
        parameter_type: Some(parameter_type.into_api()),
        parameter_value: Some(value),
    })
}

/// A parameter's type.
#[derive(Debug, PartialEq)]
enum Type {
    Scalar(SqlType),
    Array(Box<Type>),
    Struct(Vec<(String, Type)>),
}

impl Type {
    /// Reads `INT64`, `ARRAY<STRING>`, `STRUCT<a INT64, b ARRAY<DATE>>`.
    fn parse(text: &str) -> Result<Self> {
        let mut rest = text;
        let parsed = Self::take(&mut rest, 0).filter(|_| rest.trim().is_empty());
        parsed.ok_or_else(|| {
            Error::invalid(format!(
                "{text:?} is not a parameter type; use INT64, STRING, TIMESTAMP …, ARRAY<type> or STRUCT<name type, …>"
            ))
        })
    }

    fn take(rest: &mut &str, depth: usize) -> Option<Self> {
        if depth > MAX_DEPTH {
            return None;
        }
        let name = take_word(rest)?;
        if name.eq_ignore_ascii_case("ARRAY") {
            take_mark(rest, '<')?;
            let element = Self::take(rest, depth + 1)?;
            take_mark(rest, '>')?;
            return match element {
                Self::Array(_) => None,
                element => Some(Self::Array(Box::new(element))),
            };
        }
        match SqlType::parse(name)? {
            SqlType::Struct => {
                take_mark(rest, '<')?;
                let mut fields = Vec::new();
                loop {
                    let field = take_word(rest)?.to_owned();
                    fields.push((field, Self::take(rest, depth + 1)?));
                    if take_mark(rest, ',').is_none() {
                        take_mark(rest, '>')?;
                        return Some(Self::Struct(fields));
                    }
                }
            }
            SqlType::Range | SqlType::TimestampRange => None,
            scalar => Some(Self::Scalar(scalar)),
        }
    }

    fn into_api(self) -> QueryParameterType {
        match self {
            Self::Scalar(scalar) => api_type(scalar.name()),
            Self::Array(element) => {
                QueryParameterType { array_type: Some(Box::new(element.into_api())), ..api_type("ARRAY") }
            }
            Self::Struct(fields) => {
                let field = |(name, field): (String, Self)| QueryParameterTypeStructTypes {
                    description: None,
                    name: Some(name),
                    r#type: Some(field.into_api()),
                };
                QueryParameterType { struct_types: Some(fields.into_iter().map(field).collect()), ..api_type("STRUCT") }
            }
        }
    }

    fn value(&self, value: &Value) -> Result<QueryParameterValue> {
        let mut api = QueryParameterValue::default();
        match (self, value) {
            (_, Value::Null) => {}
            (Self::Scalar(scalar), value) => api.value = Some(scalar_text(*scalar, value)?),
            (Self::Array(element), Value::Array(values)) => {
                api.array_values = Some(values.iter().map(|value| element.value(value)).collect::<Result<_>>()?);
            }
            (Self::Array(_), _) => return Err(Error::invalid("the value of an ARRAY is a JSON array")),
            (Self::Struct(fields), Value::Object(values)) => {
                if let Some(unknown) = values.keys().find(|key| fields.iter().all(|(name, _)| name != *key)) {
                    return Err(Error::invalid(format!("the STRUCT has no field {unknown:?}")));
                }
                let field = |(name, field): &(String, Self)| {
                    let value = values.get(name).unwrap_or(&Value::Null);
                    Ok((name.clone(), field.value(value).map_err(|error| error.context(name))?))
                };
                api.struct_values = Some(fields.iter().map(field).collect::<Result<HashMap<_, _>>>()?);
            }
            (Self::Struct(_), _) => return Err(Error::invalid("the value of a STRUCT is a JSON object")),
        }
        Ok(api)
    }
}

fn api_type(name: &str) -> QueryParameterType {
    QueryParameterType { array_type: None, struct_types: None, r#type: name.to_owned() }
}

/// A scalar in the API's form, which is text for every type.
fn scalar_text(scalar: SqlType, value: &Value) -> Result<String> {
    let text = match (scalar, value) {
        (SqlType::Json, Value::String(text)) => Some(text.clone()),
        (SqlType::Json, value) => Some(value.to_string()),
        (SqlType::Bool, Value::Bool(value)) => Some(value.to_string()),
        (SqlType::Bool, Value::String(text)) => {
            let lower = text.to_ascii_lowercase();
            matches!(lower.as_str(), "true" | "false").then_some(lower)
        }
        (SqlType::Int64, Value::Number(number)) => number.as_i64().map(|number| number.to_string()),
        (SqlType::Int64, Value::String(text)) => text.trim().parse::<i64>().ok().map(|number| number.to_string()),
        (SqlType::Float64 | SqlType::Numeric | SqlType::BigNumeric, Value::Number(number)) => Some(number.to_string()),
        (SqlType::Float64, Value::String(text)) => text.trim().parse::<f64>().ok().map(|_| text.trim().to_owned()),
        // As everywhere in requests, a bare number is epoch milliseconds.
        (SqlType::Timestamp, Value::Number(number)) => match number.as_i64() {
            Some(millis) => timestamp_text(Timestamp::from_millis(millis)?.micros()),
            None => None,
        },
        (_, Value::String(text)) => Some(text.clone()),
        _ => None,
    };
    text.ok_or_else(|| Error::invalid(format!("{value} is not a value of {}", scalar.name())))
}

fn take_word<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let text = rest.trim_start();
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (word, after) = text.split_at(end);
    *rest = after;
    (!word.is_empty()).then_some(word)
}

fn take_mark(rest: &mut &str, mark: char) -> Option<()> {
    *rest = rest.trim_start().strip_prefix(mark)?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn api(type_name: &str, value: Value) -> Result<Value> {
        let parameter = Parameter { type_name: type_name.to_owned(), value };
        let api = query_parameter("p", &parameter)?;
        Ok(json!([api.parameter_type, api.parameter_value]))
    }

    #[test]
    fn values_take_the_form_of_the_api() {
        let check = |type_name: &str, value: Value, expected: Value| {
            assert_eq!(api(type_name, value).unwrap(), expected, "{type_name}");
        };
        check("int64", json!(3), json!([{"type": "INT64"}, {"value": "3"}]));
        check("INTEGER", json!("-9223372036854775808"), json!([{"type": "INT64"}, {"value": "-9223372036854775808"}]));
        check("FLOAT64", json!("NaN"), json!([{"type": "FLOAT64"}, {"value": "NaN"}]));
        check("BOOL", json!(true), json!([{"type": "BOOL"}, {"value": "true"}]));
        check("STRING", json!("a'b"), json!([{"type": "STRING"}, {"value": "a'b"}]));
        check("STRING", json!(null), json!([{"type": "STRING"}, {}]));
        check(
            "TIMESTAMP",
            json!(1_704_067_200_000_i64),
            json!([{"type": "TIMESTAMP"}, {"value": "2024-01-01 00:00:00+00"}]),
        );
        check("JSON", json!({"a": 1}), json!([{"type": "JSON"}, {"value": "{\"a\":1}"}]));
        check(
            "ARRAY<STRING>",
            json!(["a", null]),
            json!([{"type": "ARRAY", "arrayType": {"type": "STRING"}}, {"arrayValues": [{"value": "a"}, {}]}]),
        );
        check(
            "ARRAY < DATE >",
            json!([]),
            json!([{"type": "ARRAY", "arrayType": {"type": "DATE"}}, {"arrayValues": []}]),
        );
        check(
            "STRUCT<a INT64, b ARRAY<BOOL>>",
            json!({"a": 1}),
            json!([
                {"type": "STRUCT", "structTypes": [
                    {"name": "a", "type": {"type": "INT64"}},
                    {"name": "b", "type": {"type": "ARRAY", "arrayType": {"type": "BOOL"}}},
                ]},
                {"structValues": {"a": {"value": "1"}, "b": {}}},
            ]),
        );
    }

    #[test]
    fn a_wrong_type_or_value_names_the_parameter() {
        let deep = format!("{}INT64{}", "STRUCT<a ".repeat(5000), ">".repeat(5000));
        let cases = [
            ("INT", json!(1.5)),
            ("INT64", json!(18_446_744_073_709_551_615_u64)),
            ("BOOL", json!("yes")),
            ("STRING", json!(1)),
            ("TIMESTAMP", json!(i64::MAX)),
            ("VARCHAR", json!("a")),
            ("ARRAY<ARRAY<INT64>>", json!([])),
            ("ARRAY<INT64", json!([])),
            ("ARRAY<INT64>>", json!([])),
            ("ARRAY<INT64>", json!(1)),
            ("STRUCT<a INT64>", json!({"b": 1})),
            ("RANGE<DATE>", json!("[2024-01-01, UNBOUNDED)")),
            (deep.as_str(), json!({})),
            ("", json!(1)),
        ];
        for (type_name, value) in cases {
            let error = api(type_name, value).unwrap_err();
            assert!(error.message().starts_with("parameter @p: "), "{error}");
        }
    }
}
