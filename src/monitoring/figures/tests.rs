//! Figures over the demo's tables, against SQL over the raw windows.
