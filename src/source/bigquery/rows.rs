//! Rows in JSON, `{"f":[{"v":"1"},…]}`, become Arrow columns in one pass over the page's bytes.
//!
//! The schema drives the parser straight into the builders; no row is ever a value of its own. A
//! value that its type cannot hold is an error that names row and column, never a null.

use std::fmt;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use weir_plan::{Error, Kind, Result};

use super::columns::{Column, Values};
use super::schema::TableSchema;

/// Decodes the rows of one page.
///
/// `first_row` is the number of the page's first row in the whole answer, for messages.
///
/// # Errors
/// `Unavailable` for a page that does not fit the schema: `BigQuery`'s answer is broken.
pub(super) fn decode(page: &[u8], schema: &TableSchema, arrow: &SchemaRef, first_row: u64) -> Result<RecordBatch> {
    let mut columns = schema.fields.iter().map(Column::new).collect::<Result<Vec<_>>>()?;
    let mut deserializer = serde_json::Deserializer::from_slice(page);
    let rows = PageSeed { columns: &mut columns, first_row }.deserialize(&mut deserializer).map_err(|error| {
        Error::new(Kind::Unavailable, format!("BigQuery's answer does not fit its schema: {error}"))
    })?;
    let arrays = columns.into_iter().map(Column::finish).collect::<Result<Vec<ArrayRef>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(SchemaRef::clone(arrow), arrays, &options)
        .map_err(|error| Error::internal("decoded columns do not fit the answer's schema").with_source(error))
}

/// The whole page, of which only `rows` matters; gives the number of rows.
struct PageSeed<'a> {
    columns: &'a mut [Column],
    first_row: u64,
}

impl<'de> DeserializeSeed<'de> for PageSeed<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for PageSeed<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a page of results")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<usize, A::Error> {
        let mut rows = 0;
        while let Some(key) = map.next_key::<&str>()? {
            if key == "rows" {
                rows = map.next_value_seed(RowsSeed { columns: &mut *self.columns, first_row: self.first_row })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(rows)
    }
}

struct RowsSeed<'a> {
    columns: &'a mut [Column],
    first_row: u64,
}

impl<'de> DeserializeSeed<'de> for RowsSeed<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for RowsSeed<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<usize, A::Error> {
        let mut rows = 0;
        loop {
            match seq.next_element_seed(StructSeed(&mut *self.columns)) {
                Ok(Some(())) => rows += 1,
                Ok(None) => return Ok(rows),
                Err(error) => {
                    return Err(de::Error::custom(format_args!("row {}: {error}", self.first_row + rows as u64)));
                }
            }
        }
    }
}

/// A row or a STRUCT: `{"f":[cells]}`.
struct StructSeed<'a>(&'a mut [Column]);

impl<'de> DeserializeSeed<'de> for StructSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for StructSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the cells f")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = false;
        while let Some(key) = map.next_key::<&str>()? {
            if key == "f" && !seen {
                map.next_value_seed(CellsSeed(&mut *self.0))?;
                seen = true;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if seen { Ok(()) } else { Err(de::Error::missing_field("f")) }
    }
}

struct CellsSeed<'a>(&'a mut [Column]);

impl<'de> DeserializeSeed<'de> for CellsSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for CellsSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of {} cells", self.0.len())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        for (index, column) in self.0.iter_mut().enumerate() {
            if seq.next_element_seed(CellSeed(column))?.is_none() {
                return Err(de::Error::invalid_length(index, &self));
            }
        }
        match seq.next_element::<IgnoredAny>()? {
            None => Ok(()),
            Some(_) => Err(de::Error::invalid_length(self.0.len() + 1, &self)),
        }
    }
}

/// A cell or an element of an ARRAY: `{"v":value}`.
struct CellSeed<'a>(&'a mut Column);

impl<'de> DeserializeSeed<'de> for CellSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for CellSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the value v")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = false;
        while let Some(key) = map.next_key::<&str>()? {
            if key == "v" && !seen {
                map.next_value_seed(ValueSeed(&mut *self.0))?;
                seen = true;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if !seen {
            self.0.append_null();
        }
        Ok(())
    }
}

struct ValueSeed<'a>(&'a mut Column);

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value of column {}", self.0.path())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        if self.0.append_text(text) {
            return Ok(());
        }
        let shown: String = text.chars().take(40).collect();
        Err(E::custom(format_args!("column {}: {shown:?} is not a value of {}", self.0.path(), self.0.type_name())))
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.0.append_null();
        Ok(())
    }

    // BigQuery sends every scalar as text; stand-ins send some of them bare.
    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        self.visit_str(if value { "true" } else { "false" })
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.visit_str(&value.to_string())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        self.visit_str(&value.to_string())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        self.visit_str(&value.to_string())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        match &mut self.0.values {
            Values::Struct { children, nulls, .. } => {
                nulls.append_non_null();
                StructSeed(children).visit_map(map)
            }
            _ => Err(de::Error::invalid_type(de::Unexpected::Map, &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        match &mut self.0.values {
            Values::List { element, lengths } => {
                let mut length = 0;
                while seq.next_element_seed(CellSeed(element))?.is_some() {
                    length += 1;
                }
                lengths.push(length);
                Ok(())
            }
            _ => Err(de::Error::invalid_type(de::Unexpected::Seq, &self)),
        }
    }
}
