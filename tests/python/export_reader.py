"""Reads the export API as its users do (requests, pyarrow, pandas), and checks what it promises.

    export_reader.py BASE_URL

The server behind BASE_URL must hold the monitoring tables (`weir demo`, or a test's `weir serve`). One
line per check; the exit code is 0 only if all hold.
"""

import gzip
import io
import json
import sys
from datetime import datetime, timedelta, timezone

import pandas
import pyarrow
import pyarrow.ipc
import requests
import zstandard
from checks import Checks, equal, holds

ARROW = "application/vnd.apache.arrow.stream"
JSON = "application/json"
NDJSON = "application/x-ndjson"
PROBLEM = "application/problem+json"

SQL = """
SELECT $__timeGroup(time, $__interval) AS time, branch AS metric, SUM(value) AS value
FROM `moz-fx-data-shared-prod.telemetry.experiment_enrollment_overall`
WHERE branch IS NOT NULL AND $__timeFilter(time) GROUP BY 1, 2 ORDER BY 1, 2
"""

# Of a table that the demo does not keep in memory, so that its first answer takes a job.
NOT_KEPT = """
SELECT $__timeGroup(window_start, $__interval) AS time, branch AS metric, SUM(enroll_count) AS value
FROM `moz-fx-data-shared-prod.telemetry_derived.experiment_enrollment_aggregates_v1`
WHERE branch IS NOT NULL AND $__timeFilter(window_start) GROUP BY 1, 2 ORDER BY 1, 2
"""

check = Checks()


class Api:
    """The API below a base URL, with one range for all checks: two whole days that ended a day ago."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url.rstrip("/")
        today = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
        self.body = {
            "sql": SQL,
            "from": (today - timedelta(days=3)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "to": (today - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "step": "1h",
        }

    def post(self, accept: str | None = None, headers: dict | None = None, **changes: object) -> requests.Response:
        """Sends the query; `changes` replace parts of its body, None takes a part out."""
        body = {key: value for key, value in {**self.body, **changes}.items() if value is not None}
        headers = {"Accept-Encoding": "identity", **({"Accept": accept} if accept else {}), **(headers or {})}
        return requests.post(f"{self.base_url}/api/v1/query", json=body, headers=headers, timeout=120)

    def get(self, path: str, **kwargs: object) -> requests.Response:
        """GET of a path."""
        return requests.get(f"{self.base_url}{path}", timeout=120, **kwargs)

    def table(self, **changes: object) -> pyarrow.Table:
        """The answer through Arrow."""
        response = self.post(ARROW, **changes)
        equal(response.status_code, 200)
        return read_arrow(response.content)


def read_arrow(content: bytes) -> pyarrow.Table:
    """Reads an IPC stream to its end."""
    with pyarrow.ipc.open_stream(io.BytesIO(content)) as reader:
        return reader.read_all()


def plain(value: object) -> object:
    """One spelling for a cell of any format."""
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).isoformat()
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).astimezone(timezone.utc).isoformat()
        except ValueError:
            return value
    return value


def rows(table: pyarrow.Table) -> list[list[object]]:
    """Rows of plain cells."""
    return [[plain(value) for value in row.values()] for row in table.to_pylist()]


def provenance(response: requests.Response) -> dict[str, str]:
    """The dictionary of X-Weir-Result (RFC 9651); its members here are tokens and numbers."""
    members = response.headers["X-Weir-Result"].split(",")
    return dict(member.strip().split(";")[0].split("=", 1) for member in members if "=" in member)


@check
def health(api: Api) -> None:
    """The process says that it is healthy and ready."""
    equal(api.get("/healthz").status_code, 200)
    equal(api.get("/readyz").status_code, 200)


@check
def arrow(api: Api) -> None:
    """pyarrow reads the Arrow stream, with the types of the Storage Read API."""
    response = api.post(ARROW)
    equal(response.status_code, 200)
    equal(response.headers["Content-Type"].split(";")[0], ARROW)
    table = read_arrow(response.content)
    equal(table.schema.names, ["time", "metric", "value"])
    equal([str(field.type) for field in table.schema], ["timestamp[us, tz=UTC]", "string", "int64"])
    holds(table.num_rows >= 48, f"{table.num_rows} rows for 48 hours")


@check
def as_json(api: Api) -> None:
    """JSON holds the same columns and rows as Arrow."""
    response = api.post(JSON)
    equal(response.headers["Content-Type"].split(";")[0], JSON)
    answer = response.json()
    equal([column["name"] for column in answer["columns"]], ["time", "metric", "value"])
    equal([[plain(cell) for cell in row] for row in answer["rows"]], rows(api.table()))


@check
def as_ndjson(api: Api) -> None:
    """NDJSON holds the same rows as Arrow, an object a line."""
    response = api.post(NDJSON)
    equal(response.headers["Content-Type"].split(";")[0], NDJSON)
    lines = [json.loads(line) for line in response.text.splitlines()]
    equal([[plain(line[name]) for name in ("time", "metric", "value")] for line in lines], rows(api.table()))


@check
def as_frames(api: Api) -> None:
    """pandas reads Arrow and NDJSON to frames that add up to the same."""
    arrow_frame = api.table().to_pandas()
    equal(str(arrow_frame["time"].dt.tz), "UTC")
    ndjson_frame = pandas.read_json(io.StringIO(api.post(NDJSON).text), lines=True)
    equal(int(ndjson_frame["value"].sum()), int(arrow_frame["value"].sum()))
    equal(len(ndjson_frame), len(arrow_frame))


@check
def by_get(api: Api) -> None:
    """GET with the same parameters gives the same answer as POST."""
    response = api.get("/api/v1/query", params=api.body, headers={"Accept": ARROW, "Accept-Encoding": "identity"})
    equal(response.status_code, 200)
    equal(read_arrow(response.content), api.table())


@check
def format_beats_accept(api: Api) -> None:
    """The parameter format beats Accept."""
    equal(api.post(JSON, format="arrow").headers["Content-Type"].split(";")[0], ARROW)
    equal(api.post(ARROW, format="ndjson").headers["Content-Type"].split(";")[0], NDJSON)
    equal(api.post(ARROW, format="json").headers["Content-Type"].split(";")[0], JSON)


@check
def browsers(api: Api) -> None:
    """Accept with quality values is honoured, and */* gets something."""
    equal(api.post(f"{JSON};q=0.1, {ARROW};q=0.9").headers["Content-Type"].split(";")[0], ARROW)
    equal(api.post("*/*").status_code, 200)


@check
def compression(api: Api) -> None:
    """gzip and zstd compress, and unpack to the same bytes."""
    for accept in (ARROW, JSON):
        identity = api.post(accept).content
        for encoding, unpack in (("gzip", gzip.decompress), ("zstd", unzstd)):
            body = {key: value for key, value in api.body.items()}
            with requests.post(
                f"{api.base_url}/api/v1/query",
                json=body,
                headers={"Accept": accept, "Accept-Encoding": encoding},
                stream=True,
                timeout=120,
            ) as response:
                equal(response.headers.get("Content-Encoding"), encoding)
                packed = response.raw.read(decode_content=False)
            holds(len(packed) < len(identity), f"{encoding} of {accept}: {len(packed)} of {len(identity)} bytes")
            if accept == ARROW:
                equal(read_arrow(unpack(packed)), read_arrow(identity))
            else:
                equal(json.loads(unpack(packed))["rows"], json.loads(identity)["rows"])


def unzstd(packed: bytes) -> bytes:
    """Unpacks a zstd stream of unknown length."""
    return zstandard.ZstdDecompressor().decompressobj().decompress(packed)


@check
def caching_headers(api: Api) -> None:
    """An ETag is weak, and stays while the answer does; Vary names both negotiated headers."""
    first, second = api.post(ARROW), api.post(ARROW)
    holds(first.headers["ETag"].startswith('W/"'), first.headers["ETag"])
    equal(second.headers["ETag"], first.headers["ETag"])
    vary = {name.strip().lower() for name in first.headers["Vary"].split(",")}
    holds({"accept", "accept-encoding"} <= vary, first.headers["Vary"])


@check
def not_modified(api: Api) -> None:
    """If-None-Match with the ETag is answered by 304 without a body, with another by 200."""
    etag = api.post(ARROW).headers["ETag"]
    response = api.post(ARROW, headers={"If-None-Match": etag})
    equal((response.status_code, response.content), (304, b""))
    equal(response.headers["ETag"], etag)
    equal(api.post(ARROW, headers={"If-None-Match": 'W/"other"'}).status_code, 200)
    equal(api.post(ARROW, headers={"If-None-Match": f'W/"other", {etag}'}).status_code, 304)


@check
def result_header(api: Api) -> None:
    """X-Weir-Result tells mode and status, and the second answer is a hit that bills nothing."""
    sql = f"{NOT_KEPT}\n-- {datetime.now(timezone.utc).isoformat()}"
    first, second = provenance(api.post(JSON, sql=sql)), provenance(api.post(ARROW, sql=sql))
    equal(first["status"], "miss")
    holds(int(first["billed"]) >= 10 * 1024 * 1024, first)
    equal((second["status"], second["billed"]), ("hit", "0"))
    holds(int(second["saved"]) >= 10 * 1024 * 1024, second)
    holds("mode" in second and "age" in second, second)


@check
def parameters(api: Api) -> None:
    """Typed parameters reach the query, NULL and arrays included."""
    params = {
        "n": {"type": "INT64", "value": 9007199254740993},
        "s": {"type": "STRING", "value": "it's"},
        "none": {"type": "TIMESTAMP", "value": None},
        "list": {"type": "ARRAY<STRING>", "value": ["a", "b"]},
    }
    sql = "SELECT @n AS n, @s AS s, @none AS none, ARRAY_LENGTH(@list) AS length"
    table = api.table(sql=sql, params=params)
    equal(table.to_pylist(), [{"n": 9007199254740993, "s": "it's", "none": None, "length": 2}])


@check
def no_rows(api: Api) -> None:
    """An answer without rows still has its columns, in Arrow and in JSON."""
    sql = f"SELECT * FROM ({SQL.replace('ORDER BY 1, 2', '')}) WHERE FALSE"
    table = api.table(sql=sql)
    equal((table.num_rows, table.schema.names), (0, ["time", "metric", "value"]))
    answer = api.post(JSON, sql=sql).json()
    equal(([column["name"] for column in answer["columns"]], answer["rows"]), (["time", "metric", "value"], []))


def problem(response: requests.Response, status: int, *names: str) -> None:
    """Checks an error of RFC 9457."""
    equal(response.status_code, status)
    equal(response.headers["Content-Type"].split(";")[0], PROBLEM)
    answer = response.json()
    equal(answer["status"], status)
    holds(answer["title"], answer)
    for name in names:
        holds(name.lower() in answer["detail"].lower(), f"{answer['detail']!r} does not name {name!r}")


@check
def errors(api: Api) -> None:
    """Errors are problem documents with the status of their kind, and name what is wrong."""
    problem(api.post(JSON, sql="SELEC 1"), 400)
    problem(api.post(JSON, sql="SELECT nosuch FROM `moz-fx-data-shared-prod.telemetry.experiment_enrollment_overall`"), 400, "nosuch")
    problem(api.post(JSON, sql="SELECT * FROM `moz-fx-data-shared-prod.telemetry.nosuch`"), 404, "nosuch")
    problem(api.post(JSON, sql="DELETE FROM `moz-fx-data-shared-prod.telemetry.x` WHERE TRUE"), 400)
    problem(api.post(JSON, sql="SELECT $__nosuch(time)"), 400, "nosuch")
    problem(api.post(JSON, **{"from": "2024-01-02T00:00:00Z", "to": "2024-01-01T00:00:00Z"}), 400)
    problem(api.post(JSON, **{"from": "yesterday"}), 400, "yesterday")
    problem(api.post(JSON, step="soon"), 400, "soon")
    problem(api.post(JSON, sql=None), 400, "sql")
    problem(api.post("image/png"), 406)
    holds(api.post(JSON, format="xlsx").status_code in (400, 406), "an unknown format")


@check
def wrong_body(api: Api) -> None:
    """A body that is no JSON, or of another type, is a client's error and not a server's."""
    url = f"{api.base_url}/api/v1/query"
    for body in (b"{", b"", b"[]", b'{"sql": 1}'):
        response = requests.post(url, data=body, headers={"Content-Type": JSON}, timeout=60)
        holds(400 <= response.status_code < 500, f"{body!r}: {response.status_code}")
    equal(api.get("/healthz").status_code, 200)


@check
def metrics(api: Api) -> None:
    """Prometheus metrics count the requests of this edge."""
    text = api.get("/metrics").text
    holds("weir_requests_total" in text, text[:500])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    check.run(Api(sys.argv[1]))
