//! One suite for every source: the embedded one, and the `BigQuery` client before our fake server and
//! before bqemulator. What an implementation cannot do stands in `cannot.toml`, and is checked to be so.
//!
//! To add a case, add it to a file in `cases/`. To run some cases alone: `WEIR_CASE=part_of_a_name`.

mod case;
mod cell;
mod dataset;
mod google_type;
mod implementations;
mod migrated;
mod suite;
mod tables;

pub(crate) use dataset::NOW;
pub(crate) use implementations::{config, fake, seeded_emulator};

/// Names of the implementations, as in `cannot.toml`.
const IMPLEMENTATIONS: [&str; 4] = ["embedded", "fake", "fake_storage_read", "bqemulator"];
