//! `weir simulate`: what viewers of a board cost with Weir, and without.

use std::path::{Path, PathBuf};

use clap::Args;
use weir_plan::{Error, Kind, Result};

use super::print;
use crate::simulate::{self, Setting, Trace};

/// Options of `weir simulate`.
#[derive(Debug, Args)]
pub struct SimulateOptions {
    /// Trace to replay [default: the one that --write-trace writes]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["write_trace", "seed", "recipes"])]
    trace: Option<PathBuf>,
    /// Write the generated trace into a file, and replay nothing
    #[arg(long, value_name = "FILE")]
    write_trace: Option<PathBuf>,
    /// Seed of the generated trace
    #[arg(long, default_value_t = Setting::default().seed)]
    seed: u64,
    /// Live experiments and rollouts in the generated data; Mozilla has about 120
    #[arg(long, default_value_t = Setting::default().recipes, value_parser = clap::value_parser!(u32).range(4..=1000))]
    recipes: u32,
    /// Only the first hours of the trace [default: 1, or all of a file]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    hours: Option<u32>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `weir simulate`: the money table on stdout.
///
/// # Errors
/// Those of the trace file and of the source; `Internal` if the bill does not add up.
pub async fn simulate(options: SimulateOptions) -> Result<()> {
    let mut trace = match &options.trace {
        Some(path) => read(path)?,
        None => Trace::generate(Setting { seed: options.seed, recipes: options.recipes })?,
    };
    let is_replayed = options.trace.is_none() && options.write_trace.is_none();
    if let Some(hours) = options.hours.or(is_replayed.then_some(1)) {
        trace.cut(hours);
    }
    if let Some(path) = &options.write_trace {
        return std::fs::write(path, trace.to_string()).map_err(|error| at(path, "write", error));
    }
    let report = simulate::run(&trace).await?;
    print(&if options.json { report.json()? } else { report.text() })
}

fn read(path: &Path) -> Result<Trace> {
    let text = std::fs::read_to_string(path).map_err(|error| at(path, "read", error))?;
    text.parse().map_err(|error: Error| error.context(path.display()))
}

fn at(path: &Path, what: &str, error: std::io::Error) -> Error {
    Error::new(Kind::NotFound, format!("cannot {what} the trace {}", path.display())).with_source(error)
}
