//! What the benches share: ways to measure that print ratios, sources with known rows, and servers on the
//! loopback.

#![allow(dead_code, reason = "each bench is a crate of its own and uses a part of this")]

pub(crate) mod fixed;
pub(crate) mod generated;
pub(crate) mod latency;
pub(crate) mod loopback;
pub(crate) mod ratio;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use weir::app::App;
use weir::cache::StoreSettings;
use weir::clock::ManualClock;

/// Whatever ends a bench.
pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// An app whose clock stands still at [`fixed::now`], so that what was fetched stays fresh.
pub(crate) fn app() -> App {
    App::new(StoreSettings::of(64 << 20), Arc::new(ManualClock::new(fixed::now())), Duration::from_secs(1))
}

/// Prints a line of the report.
#[expect(clippy::print_stdout, reason = "a bench reports to its terminal; the rule protects the plugin's handshake")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// Resident bytes of this process.
pub(crate) fn resident() -> Outcome<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split(' ').nth(1).ok_or("statm has no second field")?.parse()?;
    Ok(pages * 4096)
}
