//! Child processes: the `weir` binary and whatever else a test starts. A child ends with its handle,
//! so also when a test panics, and is only ever signalled by its own id.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// How long a test waits for a child to say or do something. Long, because CI machines are slow and
/// busy; a child that exits ends the wait at once.
pub(crate) const PATIENCE: Duration = Duration::from_mins(3);

/// A command for the `weir` binary of this build, with no setting of the caller's environment that
/// would change what it does.
pub(crate) fn weir<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(arguments);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let foreign = ["WEIR_", "GF_", "PLUGIN_", "grafana_", "GOOGLE_", "RUST_LOG"];
        if foreign.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command
}

/// A running child whose output lines are kept.
pub(crate) struct Running {
    child: Child,
    lines: Arc<Lines>,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Lines {
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
struct Seen {
    stdout: Vec<String>,
    stderr: Vec<String>,
    open: usize,
}

impl Running {
    /// Starts `command` and reads its standard output and error in the background.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let lines = Arc::new(Lines::default());
        lines.seen.lock().open = 2;
        let stdout = child.stdout.take().unwrap();
        let stderr = child.stderr.take().unwrap();
        let readers = vec![
            read(stdout, Arc::clone(&lines), |seen, line| seen.stdout.push(line)),
            read(stderr, Arc::clone(&lines), |seen, line| seen.stderr.push(line)),
        ];
        Self { child, lines, readers }
    }

    /// The child's id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Standard output so far.
    pub(crate) fn stdout(&self) -> String {
        self.lines.seen.lock().stdout.join("\n")
    }

    /// Standard error so far.
    pub(crate) fn stderr(&self) -> String {
        self.lines.seen.lock().stderr.join("\n")
    }

    /// Waits for the first line, of either stream, for which `wanted` gives a value.
    ///
    /// Panics with everything the child said if it closes both streams, or says nothing of the kind for
    /// [`PATIENCE`].
    pub(crate) fn wait_for<T>(&self, what: &str, wanted: impl Fn(&str) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        let mut late = false;
        let mut seen = self.lines.seen.lock();
        loop {
            if let Some(found) = seen.stdout.iter().chain(&seen.stderr).find_map(|line| wanted(line)) {
                return found;
            }
            // Only after a look at the lines: the last ones may have come together with the end.
            assert!(
                !late && seen.open > 0,
                "{what} did not come {}; standard output:\n{}\nstandard error:\n{}",
                if late { "in time" } else { "before the process closed its output" },
                seen.stdout.join("\n"),
                seen.stderr.join("\n")
            );
            late = self.lines.changed.wait_until(&mut seen, until).timed_out();
        }
    }

    /// Waits for a line that holds an address such as `http://127.0.0.1:4711`, and returns it.
    pub(crate) fn wait_for_address(&self) -> SocketAddr {
        self.wait_for("an address", |line| {
            let (_, rest) = line.split_once("http://")?;
            let end = rest.find(|c: char| !(c.is_ascii_digit() || ".:".contains(c))).unwrap_or(rest.len());
            rest[..end].parse().ok()
        })
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        let status = Command::new("kill").args(["-TERM", &self.id().to_string()]).status().unwrap();
        assert!(status.success(), "no process {} to terminate", self.id());
    }

    /// Waits for the end, at most for `bound`, and returns how it ended and how long that took.
    pub(crate) fn wait(&mut self, bound: Duration) -> (ExitStatus, Duration) {
        let start = Instant::now();
        let mut seen = self.lines.seen.lock();
        while seen.open > 0 {
            let late = self.lines.changed.wait_until(&mut seen, start + bound).timed_out();
            assert!(
                !late,
                "process {} still runs after {bound:?}; standard error:\n{}",
                self.child.id(),
                seen.stderr.join("\n")
            );
        }
        drop(seen);
        (self.child.wait().unwrap(), start.elapsed())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

fn read(stream: impl Read + Send + 'static, lines: Arc<Lines>, keep: fn(&mut Seen, String)) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            keep(&mut lines.seen.lock(), String::from_utf8_lossy(&line).into_owned());
            lines.changed.notify_all();
        }
        lines.seen.lock().open -= 1;
        lines.changed.notify_all();
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Running {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Running::start(command)
    }

    #[test]
    fn both_streams_are_kept_and_an_address_is_found() {
        let mut child = shell("echo one; echo 'listening on http://127.0.0.1:4711/ now' >&2");
        assert_eq!(child.wait_for_address().port(), 4711);
        let (status, _) = child.wait(PATIENCE);
        assert!(status.success());
        assert_eq!(child.stdout(), "one");
        assert_eq!(child.stderr(), "listening on http://127.0.0.1:4711/ now");
    }

    #[test]
    #[should_panic(expected = "before the process closed its output; standard output:\nlast words")]
    fn a_wait_for_a_child_that_ended_shows_what_it_said() {
        shell("echo last words").wait_for("a greeting", |line| (line == "hello").then_some(()));
    }

    #[test]
    fn terminate_reaches_the_child() {
        let mut child = shell("echo ready; exec sleep 600");
        child.wait_for("ready", |line| (line == "ready").then_some(()));
        child.terminate();
        let (status, _) = child.wait(PATIENCE);
        assert!(!status.success());
    }
}
