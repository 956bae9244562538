//! A small real `BigQuery` server over another source, for tests and `weir demo --as-bigquery`.
