//! Weir's pure ground: what is asked, which times it covers, and how it is to be answered.
//!
//! Nothing here does I/O, reads a clock or an environment variable, or knows a protocol, an async
//! runtime or a query engine: `now` and every setting arrive as values.

pub mod analysis;
pub mod columns;
pub mod descriptor;
pub mod error;
pub mod extent;
pub mod local;
pub mod macros;
pub mod plan;
pub mod price;
pub mod query;
pub mod sql;
pub mod target;
pub mod view;

pub use analysis::{Analysis, Catalog, analyse};
pub use descriptor::{Descriptors, SourceDescriptor};
pub use error::{Error, Kind, Result, Retry};
pub use extent::{Extent, PartitionUnit, Ranges, Step, Timestamp};
pub use local::LocalRelation;
pub use plan::{Family, Freshness, Key, Mode, Plan, Segment};
pub use price::{Cost, Price};
pub use query::{CacheControl, CacheMode, Parameter, Query, Scope, TableId};
pub use target::{Dialect, Target, TimeType};
pub use view::View;
