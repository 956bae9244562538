//! Expansion of Grafana's `$__macros`.
