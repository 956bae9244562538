//! Talks to `BigQuery`; the only module that knows gcp-bigquery-client.
