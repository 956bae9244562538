//! Shows on stderr how far a round is: a bar on a terminal, log lines elsewhere.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressStyle};

/// Where progress is shown.
pub enum Progress {
    /// On a terminal.
    Bar(ProgressBar),
    /// In the log.
    Lines,
}

impl Progress {
    /// A bar if stderr is a terminal.
    pub fn on_stderr() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines;
        }
        let bar = ProgressBar::no_length();
        // A template of ours that could not be read would show as the plain bar.
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} objects, {elapsed}: {msg}") {
            bar.set_style(style);
        }
        Self::Bar(bar)
    }

    /// So many objects more are to be looked at.
    pub(super) fn expect(&self, objects: usize) {
        if let Self::Bar(bar) = self {
            bar.inc_length(objects as u64);
        }
    }

    /// What is done now.
    pub(super) fn at(&self, what: &str) {
        match self {
            Self::Bar(bar) => bar.set_message(what.to_owned()),
            Self::Lines => tracing::info!(what, "publishing"),
        }
    }

    /// An object is done.
    pub(super) fn step(&self) {
        if let Self::Bar(bar) = self {
            bar.inc(1);
        }
    }

    /// The round ended.
    pub(super) fn end(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
            bar.reset();
            bar.unset_length();
        }
    }
}
