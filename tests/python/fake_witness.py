"""An independent witness of our BigQuery server: Google's own Python client.

Usage: fake_witness.py REST_URL STORAGE_ADDRESS PROJECT [TABLE]

REST_URL is the API's root (http://127.0.0.1:PORT), STORAGE_ADDRESS is HOST:PORT of the Storage Read
API, TABLE an ordinary table (project.dataset.table) that the server has. Prints one line per check,
and exits with 1 if one failed. Needs google-cloud-bigquery, google-cloud-bigquery-storage, pyarrow.
"""

import datetime as dt
import decimal
import sys
import traceback

import grpc
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, bigquery_storage_v1
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import (
    BigQueryReadGrpcTransport,
)

UTC = dt.timezone.utc

# One row of every type, and one of nulls.
TYPES = """
SELECT 9007199254740993 AS i, 0.5 AS f, TRUE AS b, 'line' AS s, b'ab' AS y,
  DATE '2024-01-01' AS d, TIMESTAMP '2024-01-01 00:00:00.000001+00' AS t,
  DATETIME '2024-01-01 12:00:00' AS dt, TIME '01:02:03' AS tm, NUMERIC '1.5' AS m,
  [1, 2] AS l, STRUCT(1 AS a, 'x' AS b) AS st, CAST(NULL AS INT64) AS none
"""
ROW = {
    "i": 9007199254740993,
    "f": 0.5,
    "b": True,
    "s": "line",
    "y": b"ab",
    "d": dt.date(2024, 1, 1),
    "t": dt.datetime(2024, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
    "dt": dt.datetime(2024, 1, 1, 12, 0, 0),
    "tm": dt.time(1, 2, 3),
    "m": decimal.Decimal("1.5"),
    "l": [1, 2],
    "st": {"a": 1, "b": "x"},
    "none": None,
}
PARAMETERS = "SELECT @n + 1 AS n, @s AS s, @f AS f, @b AS b, @t AS t, @d AS d, @l AS l"
NUMBERS = "SELECT n FROM UNNEST(GENERATE_ARRAY(1, 1000)) AS n ORDER BY n"

CHECKS = []


class Skipped(Exception):
    """A check that cannot be made here, and why."""


def check(function):
    """Registers a check; its name is what it shows."""
    CHECKS.append(function)
    return function


def equal(found, expected):
    """Fails with both values."""
    assert found == expected, f"found {found!r}, expected {expected!r}"


def refused(error, call):
    """Returns the API error of a call that must fail with it."""
    try:
        call()
    except error as refusal:
        return refusal
    raise AssertionError(f"no {error.__name__}")


class Witness:
    """The clients under one roof."""

    def __init__(self, rest_url, storage_address, project, table):
        self.project = project
        self.table = table
        self.client = bigquery.Client(
            project=project,
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": rest_url},
        )
        channel = grpc.insecure_channel(storage_address)
        self.storage = bigquery_storage_v1.BigQueryReadClient(
            transport=BigQueryReadGrpcTransport(channel=channel)
        )


@check
def every_type_is_read_over_json(w):
    rows = list(w.client.query(TYPES).result())
    equal(dict(rows[0].items()), ROW)


@check
def the_schema_has_the_types_of_bigquery(w):
    schema = w.client.query(TYPES).result().schema
    types = ["INTEGER", "FLOAT", "BOOLEAN", "STRING", "BYTES", "DATE", "TIMESTAMP", "DATETIME", "TIME", "NUMERIC"]
    equal([field.field_type for field in schema], types + ["INTEGER", "RECORD", "INTEGER"])
    equal(schema[10].mode, "REPEATED")


@check
def named_parameters_of_every_kind_arrive(w):
    moment = dt.datetime(2024, 1, 1, 1, 2, 3, 4, tzinfo=UTC)
    parameters = [
        bigquery.ScalarQueryParameter("n", "INT64", 41),
        bigquery.ScalarQueryParameter("s", "STRING", "it's"),
        bigquery.ScalarQueryParameter("f", "FLOAT64", 0.25),
        bigquery.ScalarQueryParameter("b", "BOOL", False),
        bigquery.ScalarQueryParameter("t", "TIMESTAMP", moment),
        bigquery.ScalarQueryParameter("d", "DATE", dt.date(2024, 2, 29)),
        bigquery.ArrayQueryParameter("l", "STRING", ["a", "b"]),
    ]
    config = bigquery.QueryJobConfig(query_parameters=parameters)
    (row,) = w.client.query(PARAMETERS, job_config=config).result()
    equal(tuple(row.values()), (42, "it's", 0.25, False, moment, dt.date(2024, 2, 29), ["a", "b"]))


@check
def a_long_answer_is_paged(w):
    rows = w.client.query(NUMBERS).result(page_size=300)
    pages = [[row.n for row in page] for page in rows.pages]
    equal([len(page) for page in pages], [300, 300, 300, 100])
    equal(sum(pages, []), list(range(1, 1001)))
    equal(rows.total_rows, 1000)


@check
def an_answer_is_read_from_a_row_on(w):
    job = w.client.query(NUMBERS)
    equal([row.n for row in job.result(start_index=990, max_results=3)], [991, 992, 993])


@check
def jobs_query_answers_in_one_request(w):
    rows = w.client.query_and_wait(NUMBERS, page_size=600)
    equal([row.n for row in rows], list(range(1, 1001)))


@check
def a_dry_run_says_bytes_and_schema(w):
    job = w.client.query(NUMBERS, job_config=bigquery.QueryJobConfig(dry_run=True))
    assert job.total_bytes_processed is not None
    equal((job.state, job.schema[0].name, job.statement_type), ("DONE", "n", "SELECT"))


@check
def a_finished_job_says_what_it_cost(w):
    config = bigquery.QueryJobConfig(labels={"witness": "python"}, priority="BATCH")
    job = w.client.query(NUMBERS, job_config=config, job_id_prefix="witness-")
    job.result()
    again = w.client.get_job(job.job_id, location=job.location)
    equal((again.state, again.labels, again.priority), ("DONE", {"witness": "python"}, "BATCH"))
    equal(again.cache_hit, False)
    assert again.total_bytes_billed is not None and again.slot_millis is not None
    assert again.created <= again.started <= again.ended
    assert job.job_id in [listed.job_id for listed in w.client.list_jobs(max_results=50)]


@check
def an_id_is_taken_once(w):
    job = w.client.query("SELECT 1 AS one", job_id_prefix="once-")
    again = lambda: w.client.query("SELECT 2 AS two", job_id=job.job_id, job_retry=None)
    error = refused(exceptions.Conflict, again)
    equal(error.errors[0]["reason"], "duplicate")


@check
def a_syntax_error_is_a_bad_request_with_its_reason(w):
    error = refused(exceptions.BadRequest, lambda: w.client.query("SELECT FROM WHERE").result())
    equal(error.errors[0]["reason"], "invalidQuery")


@check
def an_unknown_table_is_not_found(w):
    sql = f"SELECT * FROM `{w.project}.nowhere.nothing`"
    error = refused(exceptions.NotFound, lambda: w.client.query(sql).result(job_retry=None))
    equal(error.errors[0]["reason"], "notFound")
    refused(exceptions.NotFound, lambda: w.client.get_table(f"{w.project}.nowhere.nothing"))
    refused(exceptions.NotFound, lambda: w.client.get_job("no-such-job"))


@check
def a_finished_job_stays_as_it_is_when_cancelled(w):
    job = w.client.query("SELECT 1 AS one")
    job.result()
    equal(job.cancel(), True)
    job.reload()
    equal((job.state, job.error_result), ("DONE", None))


@check
def every_type_is_read_over_arrow(w):
    table = w.client.query(TYPES).result().to_arrow(bqstorage_client=w.storage)
    equal(table.to_pylist()[0], ROW)


@check
def a_long_answer_is_read_over_arrow(w):
    rows = w.client.query(NUMBERS).result()
    equal(sorted(rows.to_arrow(bqstorage_client=w.storage)["n"].to_pylist()), list(range(1, 1001)))


@check
def json_and_arrow_answer_alike(w):
    job = w.client.query(TYPES)
    over_json = job.result().to_arrow(create_bqstorage_client=False)
    over_arrow = job.result().to_arrow(bqstorage_client=w.storage)
    equal(over_json.to_pylist(), over_arrow.to_pylist())


@check
def an_ordinary_table_is_described_and_read(w):
    if w.table is None:
        raise Skipped("no TABLE was given")
    table = w.client.get_table(w.table)
    equal(len(list(w.client.list_rows(table, max_results=5))), min(5, table.num_rows))
    over_arrow = w.client.list_rows(table).to_arrow(bqstorage_client=w.storage)
    equal(over_arrow.column_names, [field.name for field in table.schema])
    equal(over_arrow.num_rows, table.num_rows)
    datasets = [dataset.dataset_id for dataset in w.client.list_datasets(project=table.project)]
    assert table.dataset_id in datasets, datasets
    tables = w.client.list_tables(f"{table.project}.{table.dataset_id}", page_size=2)
    assert table.table_id in [listed.table_id for listed in tables]


def main(arguments):
    if len(arguments) not in (3, 4):
        sys.exit(__doc__)
    rest_url, storage_address, project = arguments[:3]
    witness = Witness(rest_url, storage_address, project, *arguments[3:] or [None])
    failed = 0
    for function in CHECKS:
        try:
            function(witness)
            print(f"ok      {function.__name__}", flush=True)
        except Skipped as why:
            print(f"skipped {function.__name__}: {why}", flush=True)
        except Exception:  # whatever the client makes of a wrong answer
            failed += 1
            print(f"FAILED  {function.__name__}", flush=True)
            traceback.print_exc()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
