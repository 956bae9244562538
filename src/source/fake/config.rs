//! How the server behaves. It is made of values alone: files and the environment are read elsewhere.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// How the server behaves.
#[derive(Clone)]
pub struct FakeConfig {
    /// Address of the REST API.
    pub rest_address: SocketAddr,
    /// Address of the Storage Read API.
    pub storage_address: SocketAddr,
    /// Location of datasets, and of jobs that name none.
    pub location: String,
    /// Most bytes of rows in a page; a row larger than this is a page of its own.
    pub page_bytes: usize,
    /// Longest wait for a job's end in one request.
    pub longest_wait: Duration,
    /// Finished jobs that are kept with their answers.
    pub kept_jobs: usize,
    /// Calls, and jobs, that the log keeps.
    pub kept_calls: usize,
    /// Whether requests need a token that this server gave.
    pub require_token: bool,
    /// Principals and the service accounts in whose name each may act.
    pub token_creators: Vec<(String, String)>,
    /// Whether an error in the SQL ends the job, as a real insert may do, rather than refuses the
    /// insert.
    pub late_errors: bool,
    /// Streams of a read session whose caller does not limit them.
    pub streams: usize,
    /// Most rows in a message of a stream.
    pub rows_per_message: usize,
    /// Most projects, datasets or tables in a page of a list, whatever the caller asks.
    pub list_entries: u64,
}

impl Default for FakeConfig {
    fn default() -> Self {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            rest_address: any_port,
            storage_address: any_port,
            location: "US".to_owned(),
            // <https://cloud.google.com/bigquery/docs/paging-results>: about 10 MB, or 20 at most.
            page_bytes: 10_000_000,
            // <https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/getQueryResults>.
            longest_wait: Duration::from_secs(200),
            kept_jobs: 1_000,
            kept_calls: 100_000,
            require_token: false,
            token_creators: Vec::new(),
            late_errors: false,
            streams: 2,
            rows_per_message: 8_192,
            list_entries: 1_000,
        }
    }
}
