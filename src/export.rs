//! The export door: HTTP.
