//! `GoogleSQL`'s functions: those the engine lacks, as scalar functions of ours.
//!
//! Names that begin with `$` are not for queries: only the rewriting of the parsed tree calls them.

mod array;
pub(super) mod cast;
mod format;
mod math;
mod scalar;
mod text;
mod time;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use datafusion::logical_expr::ScalarUDF;

/// All scalar functions of ours by name.
static FUNCTIONS: LazyLock<HashMap<String, Arc<ScalarUDF>>> = LazyLock::new(|| {
    let all = [array::all(), cast::all(), format::all(), math::all(), text::all(), time::all()];
    all.into_iter().flatten().map(|function| (function.name().to_owned(), function)).collect()
});

/// All scalar functions of ours.
pub(super) fn all() -> impl Iterator<Item = Arc<ScalarUDF>> {
    FUNCTIONS.values().cloned()
}

/// The function of a name.
pub(super) fn named(name: &str) -> Option<Arc<ScalarUDF>> {
    FUNCTIONS.get(name).cloned()
}
