//! Results of a job in JSON: wait for the job, then fetch every page.
//!
//! Pages are fetched with `formatOptions.useInt64Timestamp`, without which timestamps are floats of
//! seconds. Rows are counted against `totalRows`: an incomplete answer is an error.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use tokio::time::Instant;
use weir_plan::{Error, Kind, Result};

use super::errors::Failure;
use super::gathered::Gathered;
use super::jobs::POLL;
use super::models::Page;
use super::rest::Rest;
use super::rows;
use super::schema::TableSchema;

/// Rows of the first page. Answers of panels fit it; of a large answer, which is then read through
/// the Storage Read API, little is wasted.
const FIRST_PAGE_ROWS: u32 = 10_000;

/// Rows of later pages; `BigQuery` ends a page at 20 MB anyway.
const PAGE_ROWS: u32 = 100_000;

/// Pages above this size are decoded off the async threads: at 100 MB/s or more this is 3 ms.
const DECODE_INLINE_BYTES: usize = 256 * 1024;

/// A server that does not wait is asked again after this, at first.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Where a job's results are.
pub(super) struct Place<'a> {
    pub(super) rest: &'a Rest,
    pub(super) project: &'a str,
    pub(super) id: &'a str,
    pub(super) location: Option<&'a str>,
}

/// An answer of which the first page has arrived.
pub(super) struct Answer {
    pub(super) schema: Arc<TableSchema>,
    pub(super) total_rows: u64,
    body: Bytes,
    next: Option<String>,
}

impl Place<'_> {
    /// Waits for the job to end well.
    pub(super) async fn wait(&self) -> Result<Answer, Failure> {
        let mut pause = SHORTEST_PAUSE;
        loop {
            let asked = Instant::now();
            let (page, body) = self.page(None).await?;
            if page.job_complete {
                return answer(page, body);
            }
            // The wait is a wish that a server may ignore; without a pause it would be flooded.
            if asked.elapsed() < POLL / 2 {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// Decodes the first page and fetches and decodes the others.
    pub(super) async fn read(
        &self,
        answer: Answer,
        arrow: &SchemaRef,
        largest_bytes: u64,
    ) -> Result<Vec<RecordBatch>, Failure> {
        let Answer { schema, total_rows, mut body, mut next } = answer;
        let mut gathered = Gathered::new(total_rows, largest_bytes);
        loop {
            let batch = decode(body, Arc::clone(&schema), SchemaRef::clone(arrow), gathered.rows()).await?;
            let received = batch.num_rows();
            gathered.push(batch)?;
            let Some(token) = next.take().filter(|_| received > 0 && gathered.rows() < total_rows) else { break };
            let (page, page_body) = self.page(Some(token)).await?;
            (body, next) = (page_body, token_of(&page));
        }
        Ok(gathered.complete("BigQuery")?)
    }

    async fn page(&self, token: Option<String>) -> Result<(Page, Bytes), Failure> {
        let rows = if token.is_none() { FIRST_PAGE_ROWS } else { PAGE_ROWS };
        let mut query = vec![
            ("formatOptions.useInt64Timestamp", "true".to_owned()),
            ("maxResults", rows.to_string()),
            ("timeoutMs", POLL.as_millis().to_string()),
        ];
        query.extend(self.location.map(|location| ("location", location.to_owned())));
        query.extend(token.map(|token| ("pageToken", token)));
        let body = self.rest.get_bytes(&["projects", self.project, "queries", self.id], &query).await?;
        let page = serde_json::from_slice(&body).map_err(|error| {
            Error::new(Kind::Unavailable, "BigQuery's page of results is not in the API's form").with_source(error)
        })?;
        Ok((page, body))
    }
}

/// A failed job may end in status 200 with its errors in the page.
fn answer(mut page: Page, body: Bytes) -> Result<Answer, Failure> {
    let next = token_of(&page);
    match (page.schema.take(), page.errors.first()) {
        (None, Some(error)) => Err(Failure::of_job(error)),
        (schema, _) => Ok(Answer {
            schema: Arc::new(schema.unwrap_or_default()),
            total_rows: page.total_rows.unwrap_or(0),
            body,
            next,
        }),
    }
}

fn token_of(page: &Page) -> Option<String> {
    page.next.clone().filter(|token| !token.is_empty())
}

async fn decode(body: Bytes, schema: Arc<TableSchema>, arrow: SchemaRef, first_row: u64) -> Result<RecordBatch> {
    if body.len() <= DECODE_INLINE_BYTES {
        return rows::decode(&body, &schema, &arrow, first_row);
    }
    let decoding = tokio::task::spawn_blocking(move || rows::decode(&body, &schema, &arrow, first_row));
    decoding.await.unwrap_or_else(|error| Err(Error::internal("a page's decoder died").with_source(error)))
}
