//! Shows on stderr how far a long beginning is.

use std::io::{IsTerminal as _, Write as _};

/// Shows the share that is done, 0 to 1, and what is being done: on one line of a terminal, which
/// goes away at the end.
pub fn show_progress(fraction: f64, what: &str) {
    let mut stderr = std::io::stderr().lock();
    if !stderr.is_terminal() {
        return;
    }
    let percent = (fraction.clamp(0.0, 1.0) * 100.0).round();
    let line =
        if fraction < 1.0 { format!("\r\x1b[Kmaking data: {percent:>3} %  {what}") } else { "\r\x1b[K".to_owned() };
    // A terminal that is gone needs no progress.
    let _ = stderr.write_all(line.as_bytes()).and_then(|()| stderr.flush());
}
