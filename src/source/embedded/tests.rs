//! Tests of the embedded source.
