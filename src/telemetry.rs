//! The log: to stderr only, because stdout belongs to the host's handshake.

use tracing_subscriber::filter::{FilterExt as _, LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry};
use weir_plan::{Error, Result};

/// What is logged where `WEIR_LOG` says nothing.
const DEFAULT: &str = "info";

/// Libraries that write tokens into their events below this level.
const INDISCREET: [(&str, LevelFilter); 1] = [("yup_oauth2", LevelFilter::INFO)];

/// Logs lines for people.
///
/// # Errors
/// `InvalidQuery` for a filter that is none; `Internal` if a log is already set up.
pub fn for_people(filter: Option<&str>) -> Result<()> {
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    init(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(ansi), filter)
}

/// Logs through a layer of the caller's, such as a host's own format. Whatever the filter says, no
/// event that may hold a token is written.
///
/// # Errors
/// As [`for_people`].
pub fn init(layer: impl Layer<Registry> + Send + Sync + 'static, filter: Option<&str>) -> Result<()> {
    let directives = directives(filter.unwrap_or(DEFAULT));
    let filter = EnvFilter::try_new(&directives).map_err(|error| {
        Error::invalid(format!("WEIR_LOG={directives:?} is no filter; give a level such as debug")).with_source(error)
    })?;
    let discreet = Targets::new().with_default(LevelFilter::TRACE).with_targets(INDISCREET);
    tracing_subscriber::registry()
        .with(layer.with_filter(filter.and(discreet)))
        .try_init()
        .map_err(|error| Error::internal("the log cannot be set up").with_source(error))
}

/// A bare level is ours alone: dependencies log headers and frames at debug and trace, and whoever
/// wants those names them.
fn directives(filter: &str) -> String {
    let filter = filter.trim();
    if filter.contains(['=', ',']) { filter.to_owned() } else { format!("warn,weir={filter},weir_plan={filter}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_level_leaves_dependencies_at_warnings() {
        assert_eq!(directives("trace"), "warn,weir=trace,weir_plan=trace");
        assert_eq!(directives("weir=debug,h2=info"), "weir=debug,h2=info");
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        let error = for_people(Some("weir=loud")).unwrap_err();
        assert!(error.message().contains("weir=loud"), "{error}");
    }
}
