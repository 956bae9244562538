//! Work on a whole answer that would hold up the other callers of its thread.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Answers of more bytes in memory than this are worked on off the async threads: at about 10 ns a
/// byte an encoding takes 10 ms and more.
const ABOVE: usize = 1024 * 1024;

/// Does something with an answer of `bytes` bytes, off the async threads if it is large and the
/// runtime has others.
pub(crate) fn aside<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let many_threads = || Handle::try_current().is_ok_and(|it| it.runtime_flavor() == RuntimeFlavor::MultiThread);
    if bytes > ABOVE && many_threads() { tokio::task::block_in_place(work) } else { work() }
}
