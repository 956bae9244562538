//! The commands of the program. They wire and print; the work is done elsewhere.
//!
//! Only here is anything written to stdout, and never in a process that Grafana started: there it
//! belongs to the handshake.

mod explain;
mod process;
mod publish;
mod simulate;

use std::future::Future;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use weir_plan::{Error, Kind, Result};

use crate::app::App;
use crate::clock::SystemClock;
use crate::config::{Config, Environment, SourceConfig};
use crate::demo::{self, Demo};
use crate::export::{ExportSettings, bind};
use crate::{migrate as migration, telemetry};

pub use explain::{ExplainOptions, explain};
pub use process::run_plugin;
pub use publish::{PublishOptions, publish};
pub use simulate::{SimulateOptions, simulate};

/// One cached query engine over BigQuery: Grafana starts this program as a data source by itself;
/// the commands below run it without Grafana.
#[derive(Debug, Parser)]
#[command(name = "weir", version)]
pub struct Cli {
    /// What to do; nothing when Grafana starts the program.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the export API over the configured sources
    Serve(ServeOptions),
    /// Serve the export API over generated data, with nothing to install or configure
    Demo(DemoOptions),
    /// Print how a query, or every query of a board, would be answered and what it would cost, without running it
    Explain(ExplainOptions),
    /// Rewrite boards and provisioning files of the two other BigQuery plugins to Weir's data source
    ///
    /// Files are written in place; the text before is kept beside each as FILE.bak (FILE.bak.2 and so
    /// on where there is one). Exit code: 0 all is done, 1 a file failed, 2 something needs a person.
    Migrate(migration::Options),
    /// Write files of experiments, as Experimenter reads them, to a bucket or a folder
    Publish(PublishOptions),
    /// Replay a trace of a board's viewers over generated data, and print what they cost with Weir and without
    Simulate(SimulateOptions),
}

/// Reads the command line; what it says of itself is printed.
///
/// # Errors
/// The exit code of a process that ends here: failure, never the 2 of `weir migrate`, for a mistake.
pub fn parse() -> std::result::Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|error| {
        // Nobody is left to tell when the stream is closed.
        let _ = error.print();
        if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    })
}

/// Options of `weir serve`.
#[derive(Debug, Args)]
pub struct ServeOptions {
    /// Configuration file (TOML); without it that of `WEIR_CONFIG`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to listen on [default: the file's, else 127.0.0.1:8088]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Serve the Parquet, CSV and Arrow files of a folder as tables, as the source `embedded`
    #[arg(long, value_name = "DIR")]
    embedded: Option<PathBuf>,
    /// Let other machines query without a login
    #[arg(long)]
    allow_anonymous: bool,
}

/// Options of `weir demo`.
#[derive(Debug, Args)]
pub struct DemoOptions {
    /// Address to listen on
    #[arg(long, value_name = "HOST:PORT", default_value = Config::LISTEN)]
    listen: String,
    /// Also serve the data as a BigQuery server would
    #[arg(long)]
    as_bigquery: bool,
    /// Let other machines query without a login
    #[arg(long)]
    allow_anonymous: bool,
}

/// Runs a command to its end, with a log for people; a failure goes to stderr.
pub fn run(environment: &Environment, command: impl Future<Output = Result<()>>) -> ExitCode {
    process::finish(telemetry::for_people(environment.log.as_deref()).and_then(|()| process::block_on(command)))
}

/// Says what this program is, on stderr; fails, because nothing was asked for.
pub fn help() -> ExitCode {
    let help = Cli::command().render_long_help();
    // Nobody is left to tell when stderr is closed.
    let _ = std::io::stderr().write_all(help.to_string().as_bytes());
    ExitCode::FAILURE
}

/// `weir serve`: the export API until SIGINT or SIGTERM.
///
/// # Errors
/// Those of the configuration, of the sources and of the address.
pub async fn serve(options: ServeOptions, environment: Environment) -> Result<()> {
    let mut config = Config::load(options.config.or(environment.config_file).as_deref())?;
    if let Some(folder) = options.embedded {
        config.sources.insert("embedded".to_owned(), SourceConfig::Embedded(folder));
    }
    if config.sources.is_empty() {
        return Err(Error::invalid(
            "there is no source: give --embedded DIR, or --config FILE with a [source.NAME]; weir demo needs neither",
        ));
    }
    let listen = options.listen.or(config.listen.take()).unwrap_or_else(|| Config::LISTEN.to_owned());
    let allow_anonymous = options.allow_anonymous || config.allow_anonymous;
    let listener = bind(&listen, allow_anonymous).await?;
    let app = Arc::new(App::build(&config, Arc::new(SystemClock)).await?);
    let settings = ExportSettings { local_only: !allow_anonymous, ..Default::default() };
    process::serve_until_signal(app, listener, settings).await
}

/// `weir demo`: generated data, a query asked twice, what to try, and the export API until SIGINT or
/// SIGTERM.
///
/// # Errors
/// Those of the address, and of the generator.
pub async fn demo(options: DemoOptions) -> Result<()> {
    let listener = bind(&options.listen, options.allow_anonymous).await?;
    let address = listener.local_addr().map_err(|error| {
        Error::new(Kind::Unavailable, format!("cannot listen on {}", options.listen)).with_source(error)
    })?;
    let demo = Demo::start(Arc::new(SystemClock), options.as_bigquery, demo::show_progress).await?;
    print(&demo.panel_twice().await?)?;
    print(&demo.what_to_try(address))?;
    let settings = ExportSettings { local_only: !options.allow_anonymous, ..Default::default() };
    process::serve_until_signal(Arc::clone(demo.app()), listener, settings).await
}

/// `weir migrate`: rewrites files and prints the report on stdout.
pub fn migrate(options: &migration::Options) -> ExitCode {
    let report = migration::run(options);
    match report.print(options.json).and_then(|text| print(&text)) {
        Ok(()) => ExitCode::from(report.exit_code()),
        failed => process::finish(failed),
    }
}

fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Error::new(Kind::Unavailable, "cannot write to standard output").with_source(error))
}

/// Time that requests under way have at the end, and time for cancelling their jobs: together less
/// than the 2 s after which a host kills.
const DRAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_millis(700));
