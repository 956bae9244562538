//! The Grafana door; the only module that knows grafana-plugin-sdk.
