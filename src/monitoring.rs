//! Mozilla's experiment monitoring: its tables generated, its datasets and figures, its health rules.

pub mod datasets;
pub mod figures;
pub mod granularity;
pub mod health;
mod settings;
pub mod synthetic;

pub use settings::MonitoringSettings;
pub(crate) use settings::WrittenSettings;
