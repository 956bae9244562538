//! Seeded, Mozilla-shaped tables for the embedded source.
