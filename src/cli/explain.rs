//! `weir explain`: how a query, or every query of a board, would be answered and what it would cost.

mod report;
mod targets;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use weir_plan::{Error, Extent, Kind, Query, Result, Step, Timestamp};

use super::print;
use crate::app::App;
use crate::board::{Board, Variables};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Config, Environment, SourceConfig};
use std::sync::Arc;

/// Options of `weir explain`.
#[derive(Debug, Args)]
pub struct ExplainOptions {
    /// Board, library panel or alert rules (JSON or YAML) whose queries are explained; `-` reads standard input
    #[arg(value_name = "BOARD", required_unless_present = "sql", conflicts_with = "sql")]
    board: Option<PathBuf>,
    /// SQL with macros; `-` reads it from standard input
    #[arg(long)]
    sql: Option<String>,
    /// Configuration file (TOML); without it that of `WEIR_CONFIG`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Ask the Parquet, CSV and Arrow files of a folder, as the source `embedded`
    #[arg(long, value_name = "DIR")]
    embedded: Option<PathBuf>,
    /// Start of the range: RFC 3339, epoch milliseconds, or now-6h [default: the board's]
    #[arg(long, allow_hyphen_values = true)]
    from: Option<String>,
    /// End of the range [default: the board's, else now]
    #[arg(long, requires = "from", allow_hyphen_values = true)]
    to: Option<String>,
    /// What `$__interval` stands for, for example 5m [default for a board: what a wide panel would ask]
    #[arg(long)]
    step: Option<String>,
    /// Name of the source, where there are several
    #[arg(long)]
    source: Option<String>,
    /// Dataset, or project.dataset, of table names without one
    #[arg(long)]
    dataset: Option<String>,
    /// Value of a variable of the board, in place of the one saved with it; may be repeated
    #[arg(long = "var", value_name = "NAME=VALUE", conflicts_with = "sql")]
    variables: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `weir explain`: the explanation on stdout.
///
/// # Errors
/// Those of the options, of the configuration and of the source; for a board, after the report, if a
/// query of it cannot be explained.
pub async fn explain(options: ExplainOptions, environment: Environment) -> Result<()> {
    let mut config = Config::load(options.config.as_deref().or(environment.config_file.as_deref()))?;
    if let Some(folder) = &options.embedded {
        config.sources.insert("embedded".to_owned(), SourceConfig::Embedded(folder.clone()));
    }
    let now = SystemClock.now();
    let range = range(options.from.as_deref(), options.to.as_deref(), now)?;
    let step: Option<Step> = options.step.as_deref().map(str::parse).transpose()?;
    let app = App::build(&config, Arc::new(SystemClock)).await?;
    let engine = app.source(options.source.as_deref())?;
    if let Some(path) = &options.board {
        let boards = Board::read(path, board_text(path)?).map_err(|error| error.context(path.display()))?;
        let mut verdict = Ok(());
        for board in &boards {
            let variables = variables(board, &options.variables)?;
            let asking = targets::Asking { variables, range, step, dataset: options.dataset.clone(), now };
            let report = targets::explain(&engine, board, &asking).await?;
            print(&if options.json { report.json()? } else { report.text() })?;
            verdict = verdict.and(report.verdict());
        }
        return verdict;
    }
    let mut query = Query::new(sql(options.sql.unwrap_or_default())?);
    query.range = range;
    query.step = step;
    query.default_dataset = options.dataset;
    let explanation = engine.explain(&query).await?;
    print(&if options.json { report::pretty(&explanation)? } else { report::details(&explanation) })
}

/// The variables of a board, with the values that were given.
fn variables(board: &Board, given: &[String]) -> Result<Variables> {
    let mut variables = board.variables();
    for given in given {
        let (name, value) =
            given.split_once('=').ok_or_else(|| Error::invalid(format!("--var {given:?}: write NAME=VALUE")))?;
        variables.set(name, value);
    }
    Ok(variables)
}

fn range(from: Option<&str>, to: Option<&str>, now: Timestamp) -> Result<Option<Extent>> {
    let at = |name: &str, text: &str| Timestamp::parse(text, now).map_err(|error| error.context(name));
    let Some(from) = from else { return Ok(None) };
    Extent::new(at("--from", from)?, at("--to", to.unwrap_or("now"))?).map(Some)
}

fn sql(text: String) -> Result<String> {
    if text == "-" { standard_input() } else { Ok(text) }
}

fn board_text(path: &Path) -> Result<String> {
    if path == Path::new("-") {
        return standard_input();
    }
    std::fs::read_to_string(path).map_err(|error| {
        Error::new(Kind::NotFound, format!("cannot read the board {}", path.display())).with_source(error)
    })
}

fn standard_input() -> Result<String> {
    let mut read = String::new();
    std::io::stdin()
        .read_to_string(&mut read)
        .map_err(|error| Error::invalid("standard input is not a text").with_source(error))?;
    Ok(read)
}
