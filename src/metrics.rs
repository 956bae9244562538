//! Counters of the whole process, in Prometheus' text format. Names: caching contract, "Provenance".

use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};
use weir_plan::Result;

/// Every metric of the process.
pub struct Metrics {
    registry: Registry,
    /// Answers by door, mode and status.
    pub requests: IntCounterVec,
    /// Failed requests by door and kind.
    pub errors: IntCounterVec,
    /// Planned queries by mode and reason.
    pub analysis: IntCounterVec,
    /// Segments of answers by their state and how they were come by.
    pub segments: IntCounterVec,
    /// Answers in parts that an audit found different, by data source.
    pub drift: IntCounterVec,
    /// Jobs by outcome.
    pub jobs: IntCounterVec,
    /// Bytes billed by the source.
    pub bytes_billed: IntCounter,
    /// Bytes that requests would have billed without us, by cause.
    pub bytes_saved: IntCounterVec,
    /// Slot time.
    pub slot_ms: IntCounter,
    /// Age of answers when they are served.
    pub staleness: HistogramVec,
    /// Segments that were not kept, by reason.
    pub store_rejected: IntCounterVec,
    /// Bytes in the cache by tier.
    pub cache_bytes: IntGaugeVec,
    /// Entries dropped by reason.
    pub evictions: IntCounterVec,
}

impl Metrics {
    /// All metrics at zero, in a registry of their own.
    #[expect(clippy::missing_panics_doc, reason = "the names are constants, checked by every test that makes one")]
    pub fn new() -> Self {
        let registry = Registry::new();
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels).expect("a valid metric name");
            registry.register(Box::new(counters.clone())).expect("a metric name used once");
            counters
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help).expect("a valid metric name");
            registry.register(Box::new(counter.clone())).expect("a metric name used once");
            counter
        };
        let requests = counters("weir_requests_total", "Answered requests", &["edge", "mode", "status"]);
        let errors = counters("weir_errors_total", "Failed requests", &["edge", "kind"]);
        let analysis = counters("weir_analysis_total", "Planned queries", &["mode", "reason"]);
        let segments = counters("weir_segments_total", "Segments of answers", &["state", "result"]);
        let drift = counters("weir_drift_total", "Answers in parts that differ from whole ones", &["source"]);
        let jobs = counters("weir_jobs_total", "Jobs sent to the source", &["outcome"]);
        let bytes_billed = counter("weir_bytes_billed_total", "Bytes billed by the source");
        let bytes_saved = counters("weir_bytes_saved_total", "Bytes not billed thanks to the cache", &["cause"]);
        let slot_ms = counter("weir_slot_ms_total", "Slot time of jobs in milliseconds");
        let store_rejected = counters("weir_store_rejected_total", "Answers served but not kept", &["reason"]);
        let evictions = counters("weir_evictions_total", "Entries dropped from the cache", &["reason"]);
        let buckets = vec![1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];
        let staleness = HistogramVec::new(
            HistogramOpts::new("weir_staleness_seconds", "Age of answers when served").buckets(buckets),
            &["edge"],
        )
        .expect("a valid metric name");
        registry.register(Box::new(staleness.clone())).expect("a metric name used once");
        let cache_bytes = IntGaugeVec::new(Opts::new("weir_cache_bytes", "Bytes in the cache"), &["tier"])
            .expect("a valid metric name");
        registry.register(Box::new(cache_bytes.clone())).expect("a metric name used once");
        Self {
            registry,
            requests,
            errors,
            analysis,
            segments,
            drift,
            jobs,
            bytes_billed,
            bytes_saved,
            slot_ms,
            staleness,
            store_rejected,
            cache_bytes,
            evictions,
        }
    }

    /// All metrics in Prometheus' text exposition format, version 0.0.4.
    ///
    /// # Errors
    /// `Internal` if a metric cannot be written.
    pub fn text(&self) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .map_err(|error| weir_plan::Error::internal("cannot write metrics").with_source(error))?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
