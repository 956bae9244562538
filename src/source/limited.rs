//! Permits and retries round a source.
