//! Query parameters from the API's form (typed trees of strings) into ours.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use weir_plan::Parameter;

use super::reply::ApiError;

/// A `QueryParameter`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireParameter {
    #[serde(default)]
    name: Option<String>,
    parameter_type: WireType,
    #[serde(default)]
    parameter_value: WireValue,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireType {
    #[serde(rename = "type")]
    name: String,
    #[serde(default)]
    array_type: Option<Box<WireType>>,
    #[serde(default)]
    struct_types: Vec<WireField>,
}

#[derive(Debug, Deserialize)]
struct WireField {
    #[serde(default)]
    name: Option<String>,
    #[serde(rename = "type")]
    field_type: WireType,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireValue {
    #[serde(default, deserialize_with = "text")]
    value: Option<String>,
    #[serde(default)]
    array_values: Option<Vec<WireValue>>,
    #[serde(default)]
    struct_values: Option<BTreeMap<String, WireValue>>,
}

/// The field is a string, but numbers and booleans are taken for their text: Google's own clients
/// send them.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match Option::<Value>::deserialize(deserializer)? {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(scalar @ (Value::Number(_) | Value::Bool(_))) => Ok(Some(scalar.to_string())),
        Some(other) => Err(serde::de::Error::custom(format!("{other} is not a scalar"))),
    }
}

/// Takes named parameters.
///
/// # Errors
/// `invalid` for a parameter without a name, a name given twice, or a value that its type does not
/// have; `notImplemented` for positional ones.
pub(super) fn parameters(mode: Option<&str>, wire: &[WireParameter]) -> Result<BTreeMap<String, Parameter>, ApiError> {
    match mode {
        Some("POSITIONAL") => return Err(ApiError::unsupported("parameterMode POSITIONAL")),
        None if wire.iter().any(|parameter| parameter.name.is_none()) => {
            return Err(ApiError::unsupported("a positional parameter"));
        }
        Some("NAMED") | None => {}
        Some(other) => return Err(ApiError::invalid(format!("Invalid value for parameterMode: {other}"))),
    }
    let mut parameters = BTreeMap::new();
    for parameter in wire {
        let name = parameter.name.as_deref().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| ApiError::invalid("A named parameter has no name"))?;
        let type_name = type_text(&parameter.parameter_type)?;
        let value = value_of(&parameter.parameter_type, &parameter.parameter_value)
            .map_err(|wrong| ApiError::invalid(format!("Invalid value of query parameter {name}: {wrong}")))?;
        if parameters.insert(name.to_owned(), Parameter { type_name, value }).is_some() {
            return Err(ApiError::invalid(format!("Duplicate parameter name {name}")));
        }
    }
    Ok(parameters)
}

fn type_text(wire: &WireType) -> Result<String, ApiError> {
    match (wire.name.as_str(), &wire.array_type) {
        ("ARRAY", Some(item)) => Ok(format!("ARRAY<{}>", type_text(item)?)),
        ("ARRAY", None) => Err(ApiError::invalid("An ARRAY parameter needs arrayType")),
        ("STRUCT", _) => {
            let fields = wire.struct_types.iter().map(|field| {
                let field_type = type_text(&field.field_type)?;
                Ok(field.name.as_ref().map_or(field_type.clone(), |name| format!("{name} {field_type}")))
            });
            Ok(format!("STRUCT<{}>", fields.collect::<Result<Vec<_>, ApiError>>()?.join(", ")))
        }
        (scalar, _) => Ok(standard_name(scalar).to_owned()),
    }
}

/// The API takes legacy names too.
fn standard_name(name: &str) -> &str {
    match name {
        "INTEGER" => "INT64",
        "FLOAT" => "FLOAT64",
        "BOOLEAN" => "BOOL",
        other => other,
    }
}

fn value_of(wire_type: &WireType, wire: &WireValue) -> Result<Value, String> {
    if let ("ARRAY", Some(item)) = (wire_type.name.as_str(), &wire_type.array_type) {
        // `BigQuery` takes a missing array for an empty one.
        let values = wire.array_values.iter().flatten().map(|value| value_of(item, value));
        return Ok(Value::Array(values.collect::<Result<_, _>>()?));
    }
    if wire_type.name == "STRUCT" {
        let Some(values) = &wire.struct_values else { return Ok(Value::Null) };
        let mut fields = Map::new();
        for field in &wire_type.struct_types {
            let name = field.name.clone().unwrap_or_default();
            let value = values.get(&name).map_or(Ok(Value::Null), |value| value_of(&field.field_type, value))?;
            fields.insert(name, value);
        }
        return Ok(Value::Object(fields));
    }
    let Some(text) = &wire.value else { return Ok(Value::Null) };
    scalar(standard_name(&wire_type.name), text)
        .ok_or_else(|| format!("{text:?} is not of the type {}", wire_type.name))
}

fn scalar(type_name: &str, text: &str) -> Option<Value> {
    match type_name {
        "INT64" => text.parse::<i64>().ok().map(Value::from),
        "FLOAT64" => match text.to_ascii_lowercase().as_str() {
            special @ ("nan" | "inf" | "+inf" | "-inf" | "infinity" | "-infinity") => Some(Value::from(special)),
            number => number.parse::<f64>().ok().map(Value::from),
        },
        "BOOL" => text.to_ascii_lowercase().parse::<bool>().ok().map(Value::from),
        _ => Some(Value::from(text)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn decode(mode: Option<&str>, wire: Value) -> Result<BTreeMap<String, Parameter>, ApiError> {
        let wire: Vec<WireParameter> = serde_json::from_value(wire).unwrap();
        parameters(mode, &wire)
    }

    #[test]
    fn typed_trees_of_strings_become_typed_values() {
        let wire = json!([
            {"name": "n", "parameterType": {"type": "INT64"}, "parameterValue": {"value": "9007199254740993"}},
            {"name": "f", "parameterType": {"type": "FLOAT64"}, "parameterValue": {"value": "1.5"}},
            {"name": "g", "parameterType": {"type": "FLOAT64"}, "parameterValue": {"value": 0.25}},
            {"name": "b", "parameterType": {"type": "BOOL"}, "parameterValue": {"value": "true"}},
            {"name": "none", "parameterType": {"type": "DATE"}, "parameterValue": {}},
            {"name": "list", "parameterType": {"type": "ARRAY", "arrayType": {"type": "STRING"}},
             "parameterValue": {"arrayValues": [{"value": "a"}, {"value": "b"}]}},
            {"name": "s", "parameterType": {"type": "STRUCT", "structTypes": [
                {"name": "x", "type": {"type": "INT64"}}, {"name": "y", "type": {"type": "STRING"}}]},
             "parameterValue": {"structValues": {"x": {"value": "1"}, "y": {"value": "z"}}}},
        ]);
        let decoded = decode(Some("NAMED"), wire).unwrap();
        let expected = json!({
            "n": {"type": "INT64", "value": 9_007_199_254_740_993_i64},
            "f": {"type": "FLOAT64", "value": 1.5},
            "g": {"type": "FLOAT64", "value": 0.25},
            "b": {"type": "BOOL", "value": true},
            "none": {"type": "DATE", "value": null},
            "list": {"type": "ARRAY<STRING>", "value": ["a", "b"]},
            "s": {"type": "STRUCT<x INT64, y STRING>", "value": {"x": 1, "y": "z"}},
        });
        assert_eq!(json!(decoded), json!(serde_json::from_value::<BTreeMap<String, Value>>(expected).unwrap()));
    }

    #[test]
    fn a_wrong_parameter_is_refused_by_name() {
        let wrong = json!([{"name": "n", "parameterType": {"type": "INT64"}, "parameterValue": {"value": "many"}}]);
        let error = decode(None, wrong).unwrap_err();
        assert_eq!((error.http, error.reason.as_str()), (400, "invalid"));
        assert!(error.message.contains('n') && error.message.contains("many"), "{}", error.message);
        let positional = json!([{"parameterType": {"type": "INT64"}, "parameterValue": {"value": "1"}}]);
        assert_eq!(decode(None, positional).unwrap_err().http, 501);
    }
}
