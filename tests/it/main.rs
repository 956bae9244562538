//! Weir's integration tests: one binary, so that it links once.
//!
//! `tests/run` sets up what they need (the Python environment of the outside judges) and runs them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod conformance;
mod doors;
mod explain;
mod export;
mod figures;
mod local;
mod memory;
mod publish;
mod soundness;
mod support;
