"""Google's own Python client before a stand-in of BigQuery: an independent witness that the stand-in
speaks the protocol, and that our client does not only agree with our own server.

    bigquery_witness.py REST_URL STORAGE_URL [CANNOT …]

The stand-in must hold the tables of the conformance suite. One line per check; the exit code is 0 only
if all hold, but for those named CANNOT, which must not.
"""

import sys
import uuid
from datetime import date, datetime, timezone
from decimal import Decimal

import grpc
from checks import Checks, equal, holds
from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import BadRequest, Conflict, NotFound
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import BigQueryReadClient
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport
from google.cloud.bigquery_storage_v1.types import DataFormat, ReadSession

PROJECT = "moz-fx-data-shared-prod"
EVENTS = f"`{PROJECT}.telemetry_derived.experiment_enrollment_aggregates_live_v1`"

check = Checks()


class Stand:
    """The client and what it talks to."""

    def __init__(self, rest_url: str, storage_url: str) -> None:
        options = ClientOptions(api_endpoint=rest_url)
        self.client = bigquery.Client(PROJECT, AnonymousCredentials(), client_options=options)
        channel = grpc.insecure_channel(storage_url.removeprefix("http://"))
        self.reader = BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))

    def job(self, sql: str, **settings: object) -> bigquery.QueryJob:
        """Inserts a job with an id of our own."""
        config = bigquery.QueryJobConfig(**settings)
        return self.client.query(sql, job_config=config, job_id=f"witness-{uuid.uuid4()}", job_retry=None)

    def rows(self, sql: str, **settings: object) -> list[tuple]:
        """The answer's rows."""
        return [tuple(row.values()) for row in self.job(sql, **settings).result(timeout=60)]


@check
def scalars(stand: Stand) -> None:
    """Scalars of each type arrive as Python's own."""
    sql = "SELECT * EXCEPT (y, t, j, a, st, ast, dt) FROM `moz-fx-data-shared-prod.conformance.every_type` WHERE id = 1"
    moment = datetime(2024, 1, 1, 1, 2, 3, 456789, tzinfo=timezone.utc)
    equal(stand.rows(sql), [(1, 42, 1.5, Decimal("12.345"), True, "plain", moment, date(2024, 1, 1))])


@check
def nested(stand: Stand) -> None:
    """Arrays and structs arrive as lists and dictionaries."""
    sql = "SELECT a, st, ast FROM `moz-fx-data-shared-prod.conformance.every_type` WHERE id = 1"
    pairs = [{"slug": "control", "ratio": 1}, {"slug": "treatment", "ratio": 3}]
    equal(stand.rows(sql), [([1, 2, 3], {"x": 1, "z": "one"}, pairs)])


@check
def nulls(stand: Stand) -> None:
    """NULLs arrive as None."""
    sql = "SELECT i, f, n, b, s, y, ts, d, dt, t FROM `moz-fx-data-shared-prod.conformance.every_type` WHERE id = 4"
    equal(stand.rows(sql), [(None,) * 10])


@check
def parameters(stand: Stand) -> None:
    """Named parameters are bound, arrays too."""
    found = stand.rows(
        "SELECT id FROM `moz-fx-data-shared-prod.conformance.numbers` WHERE k IN UNNEST(@ks) AND x > @low ORDER BY id",
        query_parameters=[
            bigquery.ArrayQueryParameter("ks", "STRING", ["a", "b"]),
            bigquery.ScalarQueryParameter("low", "INT64", 5),
        ],
    )
    equal(found, [(1,), (2,)])


@check
def pages(stand: Stand) -> None:
    """Pages of ten rows are all there, once each."""
    job = stand.job(f"SELECT window_start, enroll_count FROM {EVENTS} ORDER BY window_start LIMIT 95")
    pages = [list(page) for page in job.result(page_size=10, timeout=60).pages]
    equal([len(page) for page in pages], [10] * 9 + [5])
    starts = [row["window_start"] for page in pages for row in page]
    equal(starts, sorted(starts))


@check
def totals(stand: Stand) -> None:
    """The number of rows is known before they are read."""
    result = stand.job(f"SELECT * FROM {EVENTS} WHERE experiment = 'ties'").result(timeout=60)
    equal((result.total_rows, len(list(result))), (9, 9))


@check
def dry_runs(stand: Stand) -> None:
    """A dry run tells the schema and is done at once."""
    job = stand.job(f"SELECT window_start, SUM(enroll_count) AS n FROM {EVENTS} GROUP BY 1", dry_run=True)
    equal([field.name for field in job.schema], ["window_start", "n"])
    holds(job.total_bytes_processed is not None, "no bytes")


@check
def tables(stand: Stand) -> None:
    """tables.get tells columns and partitioning."""
    table = stand.client.get_table(f"{PROJECT}.telemetry_derived.experiment_enrollment_aggregates_v1")
    equal((table.table_type, table.time_partitioning.field), ("TABLE", "window_start"))
    equal(table.schema[4].name, "window_start")


@check
def views(stand: Stand) -> None:
    """tables.get tells a view's text."""
    view = stand.client.get_table(f"{PROJECT}.telemetry.experiment_enrollment_overall")
    equal(view.table_type, "VIEW")
    holds("GROUP BY" in view.view_query, view.view_query)


@check
def storage_read(stand: Stand) -> None:
    """The Storage Read API gives the table's rows in Arrow."""
    session = stand.reader.create_read_session(
        parent=f"projects/{PROJECT}",
        read_session=ReadSession(
            table=f"projects/{PROJECT}/datasets/conformance/tables/numbers", data_format=DataFormat.ARROW
        ),
        max_stream_count=1,
    )
    rows = stand.reader.read_rows(session.streams[0].name).to_arrow(session).to_pylist()
    equal(sorted(row["id"] for row in rows), [1, 2, 3, 4, 5, 6, 7])


@check
def errors(stand: Stand) -> None:
    """Errors have the classes that the client knows."""
    for sql, kind in (
        ("SELEC 1", BadRequest),
        ("SELECT nosuch FROM `moz-fx-data-shared-prod.conformance.numbers`", BadRequest),
        ("SELECT * FROM `moz-fx-data-shared-prod.conformance.nosuch`", NotFound),
    ):
        try:
            stand.rows(sql)
        except kind:
            continue
        raise AssertionError(f"{sql}: no {kind.__name__}")
    try:
        stand.client.get_table(f"{PROJECT}.conformance.nosuch")
    except NotFound:
        return
    raise AssertionError("an unknown table was found")


@check
def duplicates(stand: Stand) -> None:
    """A second job of the same id is refused as a duplicate."""
    job = stand.job("SELECT 1 AS x")
    job.result(timeout=60)
    try:
        stand.client.query("SELECT 1 AS x", job_id=job.job_id, job_retry=None, retry=None)
    except Conflict:
        return
    raise AssertionError("no conflict")


@check
def arrow_of_a_query(stand: Stand) -> None:
    """A query's answer reads through the Storage Read API, from its anonymous table."""
    result = stand.job(f"SELECT window_start, enroll_count FROM {EVENTS} WHERE experiment = 'ties'").result(timeout=60)
    table = result.to_arrow(bqstorage_client=stand.reader)
    equal((table.num_rows, sum(table["enroll_count"].to_pylist())), (9, 339))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    check.run(Stand(sys.argv[1], sys.argv[2]), cannot=tuple(sys.argv[3:]))
