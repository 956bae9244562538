//! Weir: one cached query engine over `BigQuery` with two doors, a Grafana data source and an
//! export API.
//!
//! Read `ARCHITECTURE.md` for the map; the pure ground is the crate `weir-plan`.

pub mod app;
pub mod batches;
pub mod board;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
mod document;
pub mod engine;
pub mod export;
pub mod flight;
pub mod ledger;
pub mod metrics;
pub mod migrate;
pub mod monitoring;
mod nearest;
pub mod plugin;
pub mod publish;
pub mod simulate;
pub mod source;
pub mod telemetry;
