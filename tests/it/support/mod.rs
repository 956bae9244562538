//! What the integration tests stand on: processes, ports, Python, the emulator, and the sources
//! under test. It asserts nothing about Weir.

pub(crate) mod emulator;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod python;
