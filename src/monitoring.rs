//! Mozilla's experiment monitoring: its tables, and later its datasets, health rules and files.

pub mod figures;
pub mod synthetic;
