//! How a process runs and ends.

use std::future::Future;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures::future::OptionFuture;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use weir_plan::{Error, Kind, Result};

use super::DRAIN;
use crate::app::App;
use crate::clock::SystemClock;
use crate::config::{Config, Environment};
use crate::export::{ExportSettings, bind, router, serve};
use crate::{plugin, telemetry};

/// Runs a future on a runtime of its own, which then ends at once.
///
/// # Errors
/// Those of the future; `Unavailable` if there are no threads for a runtime.
pub(super) fn block_on(future: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(Kind::Unavailable, "cannot start threads").with_source(error))?;
    let result = runtime.block_on(future);
    // Connections that outlived the drain, and threads that still encode, are not waited for.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

/// Success, or the error with its causes on stderr.
pub(super) fn finish(result: Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    // Nobody is left to tell when stderr is closed.
    let _ = writeln!(std::io::stderr(), "weir: {}", chain(&error));
    ExitCode::FAILURE
}

/// The message and those of its causes that it does not already hold.
pub(super) fn chain(error: &Error) -> String {
    let mut text = error.message().to_owned();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}

/// Serves the export API until SIGINT or SIGTERM; then drains, and cancels what still runs.
///
/// # Errors
/// `Unavailable` if the listener or the signals fail.
pub(super) async fn serve_until_signal(app: Arc<App>, listener: TcpListener, settings: ExportSettings) -> Result<()> {
    stop_on_signal(settings.stop.clone())?;
    let served = open_door(&app, listener, settings).await;
    end(&app).await;
    served
}

/// Serves the export API until its settings' `stop`.
async fn open_door(app: &Arc<App>, listener: TcpListener, settings: ExportSettings) -> Result<()> {
    let address = listener.local_addr().map_or_else(|error| error.to_string(), |address| address.to_string());
    tracing::info!(%address, sources = app.source_names().join(", "), "the export API listens");
    app.load_locals_behind();
    let stop = settings.stop.clone();
    serve(listener, router(Arc::clone(app), settings), stop, DRAIN.0).await
}

/// Cancels every fetch that still runs.
pub(super) async fn end(app: &App) {
    if tokio::time::timeout(DRAIN.1, app.stop()).await.is_err() {
        tracing::warn!("some jobs could not be cancelled in time; BigQuery ends them after their own timeout");
    }
}

/// Cancels `stop` when the process is told to end.
pub(super) fn stop_on_signal(stop: CancellationToken) -> Result<()> {
    let signals =
        signals().map_err(|error| Error::new(Kind::Unavailable, "cannot wait for signals").with_source(error))?;
    tokio::spawn(async move {
        signals.await;
        tracing::info!("told to end; requests under way may finish");
        stop.cancel();
    });
    Ok(())
}

#[cfg(unix)]
fn signals() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(windows)]
fn signals() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
    })
}

/// The process that Grafana starts: the plugin, and the export API on the same engine where an
/// address is configured.
pub fn run_plugin(environment: Environment) -> ExitCode {
    // Grafana shows of it what its own level lets through.
    let filter = environment.log.clone().unwrap_or_else(|| "debug".to_owned());
    finish(telemetry::init(plugin::log_layer(), Some(&filter)).and_then(|()| block_on(serve_host(environment))))
}

async fn serve_host(environment: Environment) -> Result<()> {
    let stop = CancellationToken::new();
    stop_on_signal(stop.clone())?;
    let (app, door) = app_and_door(&environment, stop.clone()).await?;
    let door = door.map(|(listener, settings)| {
        let app = Arc::clone(&app);
        tokio::spawn(async move { open_door(&app, listener, settings).await })
    });
    let served = plugin::serve(Arc::clone(&app), &environment.host, stop.clone()).await;
    // The host may have refused us, or its connection failed.
    stop.cancel();
    if let Some(Err(error)) = OptionFuture::from(door).await.map(|ended| ended.unwrap_or(Ok(()))) {
        tracing::error!(?error, "the export API failed");
    }
    end(&app).await;
    served
}

/// The app and the export API's door. Boards must not go dark because the export API is configured
/// wrongly: then there is none, and the log says why.
async fn app_and_door(environment: &Environment, stop: CancellationToken) -> Result<(Arc<App>, Door)> {
    let mut config = Config::load(environment.config_file.as_deref()).unwrap_or_else(|error| {
        tracing::error!(?error, "the configuration is left out, and the export API is off");
        Config::default()
    });
    if let Err(error) = config.take_cache_folder(environment) {
        tracing::error!(?error, "settled answers are not kept on disk");
    }
    match try_app_and_door(&config, environment, stop).await {
        Ok(both) => Ok(both),
        Err(error) => {
            tracing::error!(?error, "the export API is off");
            config.sources.clear();
            Ok((Arc::new(app_of_boards(config).await?), None))
        }
    }
}

/// The app of a configuration without sources, and without the cache's folder if that is what failed.
async fn app_of_boards(mut config: Config) -> Result<App> {
    match App::build(&config, Arc::new(SystemClock)).await {
        Err(error) if config.cache_folder.take().is_some() => {
            tracing::error!(?error, "settled answers are not kept on disk");
            App::build(&config, Arc::new(SystemClock)).await
        }
        built => built,
    }
}

type Door = Option<(TcpListener, ExportSettings)>;

async fn try_app_and_door(
    config: &Config,
    environment: &Environment,
    stop: CancellationToken,
) -> Result<(Arc<App>, Door)> {
    let listen = environment.export_address.as_ref().or(config.listen.as_ref());
    let door = match listen {
        None => None,
        Some(listen) => {
            let listener = bind(listen, config.allow_anonymous).await?;
            let local_only = !config.allow_anonymous;
            Some((listener, ExportSettings { local_only, stop, ..Default::default() }))
        }
    };
    Ok((Arc::new(App::build(config, Arc::new(SystemClock)).await?), door))
}
