//! The Python environment of the outside judges. `tests/python/venv` makes it; nothing here installs.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tokio::process::Command;

/// A file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The environment's interpreter: `$WEIR_VENV`, else the place that `tests/python/venv` chooses.
///
/// Panics where it was not made: a judge that is missing is a failure, not a test less.
pub(crate) fn interpreter() -> PathBuf {
    let requirements = std::fs::read(repository("tests/python/requirements.txt")).unwrap();
    let hash = format!("{:x}", Sha256::digest(requirements));
    let hash = &hash[..12];
    let place = std::env::var_os("WEIR_VENV").map_or_else(|| cache().join(format!("weir/venv-{hash}")), PathBuf::from);
    let complete = place.join(format!(".weir-{hash}"));
    assert!(
        complete.exists(),
        "the Python environment {} is missing or of other pins: run tests/run, or tests/python/venv alone, once",
        place.display()
    );
    place.join("bin/python")
}

fn cache() -> PathBuf {
    match std::env::var_os("XDG_CACHE_HOME") {
        Some(cache) if !cache.is_empty() => cache.into(),
        _ => PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"),
    }
}

/// Runs `name`, a script of `tests/python`, to its end; panics with what it printed if it fails.
pub(crate) async fn check(name: &str, arguments: &[&str]) {
    let script = repository("tests/python").join(name);
    let output = Command::new(interpreter()).arg(script).args(arguments).kill_on_drop(true).output().await.unwrap();
    assert!(
        output.status.success(),
        "{name} {}: {}\n{}{}",
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
