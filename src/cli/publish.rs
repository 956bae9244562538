//! `weir publish`: files of experiments in a bucket or a folder.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveTime;
use clap::Args;
use tokio_util::sync::CancellationToken;
use weir_plan::{Error, Kind, Result};

use super::print;
use super::process::{end, stop_on_signal};
use crate::app::App;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Environment, Login, SourceConfig, parse_duration};
use crate::demo::{self, Demo};
use crate::monitoring::figures::Granularity;
use crate::publish::{Bucket, Destination, Form, Progress, PublishSettings, Publisher};

/// Options of `weir publish`.
#[derive(Debug, Args)]
pub struct PublishOptions {
    /// Where to: `gs://BUCKET/PREFIX`, or `file:///FOLDER`
    #[arg(long, value_name = "URL")]
    to: Destination,
    /// Publish again and again, for example every 5m, until SIGINT or SIGTERM [default: once]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    every: Option<Duration>,
    /// Write rows as the exporter before us: numbers as text, half hours labelled with their end
    #[arg(long)]
    compat: bool,
    /// Length of all buckets, one of 5m, 30m, 1h, 1d [default: by the age of the experiment]
    #[arg(long)]
    granularity: Option<Granularity>,
    /// Time of the day (UTC) from which the day's counts are written
    #[arg(long, value_name = "HH:MM", default_value = "05:00", value_parser = time_of_day)]
    counts_at: NaiveTime,
    /// Publish the demo's generated data
    #[arg(long, conflicts_with_all = ["config", "source", "embedded"])]
    demo: bool,
    /// Configuration file (TOML); without it that of `WEIR_CONFIG`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Publish from the Parquet, CSV and Arrow files of a folder, as the source `embedded`
    #[arg(long, value_name = "DIR")]
    embedded: Option<PathBuf>,
    /// Name of the source, where there are several
    #[arg(long)]
    source: Option<String>,
    /// Address of a stand-in for Google's storage
    #[arg(long, value_name = "URL")]
    gcs_endpoint: Option<String>,
}

/// `weir publish`: the files, and on stdout what was done.
///
/// # Errors
/// Those of the options, of the configuration and of the source; of a single round, those of
/// [`Publisher::publish`].
pub async fn publish(options: PublishOptions, environment: Environment) -> Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (app, login) = if options.demo {
        let demo = Demo::start(Arc::clone(&clock), false, demo::show_progress).await?;
        (Arc::clone(demo.app()), None)
    } else {
        configured(&options, environment, &clock).await?
    };
    let figures = app.figures(options.source.as_deref())?;
    // A source without a login says nothing of the bucket's; a stand-in asks for none.
    let absent = if options.gcs_endpoint.is_some() { Login::Anonymous } else { Login::ApplicationDefault };
    let login = login.unwrap_or(absent);
    let bucket = Bucket::open(&options.to, &login, options.gcs_endpoint.as_deref(), &clock).await?;
    let form = if options.compat { Form::Exporter } else { Form::Plain };
    let settings = PublishSettings { form, granularity: options.granularity, counts_at: options.counts_at };
    let publisher = Publisher::new(&figures, bucket, settings);
    let stop = CancellationToken::new();
    stop_on_signal(stop.clone())?;
    let outcome = tokio::select! {
        ran = run(&publisher, options.every) => ran,
        () = stop.cancelled() => options.every.map(drop).ok_or_else(cut_short),
    };
    end(&app).await;
    outcome
}

async fn run(publisher: &Publisher, every: Option<Duration>) -> Result<()> {
    let progress = Progress::on_stderr();
    let Some(every) = every else {
        return print(&format!("{}\n", publisher.publish(&progress).await?));
    };
    publisher
        .publish_every(every, &progress, |round| match round {
            Ok(summary) => tracing::info!("{summary}"),
            Err(error) => tracing::error!(kind = error.kind().row().code, "{}", super::process::chain(&error)),
        })
        .await;
    Ok(())
}

fn cut_short() -> Error {
    Error::new(
        Kind::ClientGone,
        "told to end before all was published; what was written is whole, publish again for the rest",
    )
}

/// The app of a configuration, and the login of the source that is published.
async fn configured(
    options: &PublishOptions,
    environment: Environment,
    clock: &Arc<dyn Clock>,
) -> Result<(Arc<App>, Option<Login>)> {
    let mut config = Config::load(options.config.as_deref().or(environment.config_file.as_deref()))?;
    if let Some(folder) = &options.embedded {
        config.sources.insert("embedded".to_owned(), SourceConfig::Embedded(folder.clone()));
    }
    let app = App::build(&config, Arc::clone(clock)).await?;
    let only = || config.sources.keys().next().cloned().unwrap_or_default();
    let name = options.source.clone().unwrap_or_else(only);
    let login = match config.sources.remove(&name) {
        Some(SourceConfig::BigQuery(config)) => Some(config.login),
        _ => None,
    };
    Ok((Arc::new(app), login))
}

fn time_of_day(text: &str) -> Result<NaiveTime> {
    let wrong = |error| Error::invalid(format!("{text:?} is not a time such as 05:00")).with_source(error);
    NaiveTime::parse_from_str(text, "%H:%M").map_err(wrong)
}
