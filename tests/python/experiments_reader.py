"""Reads Experimenter's routes as Experimenter would, and compares every figure with raw windows.

    experiments_reader.py BASE_URL

The server behind BASE_URL must hold the monitoring tables (`weir demo`). One line per check; the exit code
is 0 only if all hold.
"""

import io
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pandas
import pyarrow
import pyarrow.ipc
import pyarrow.parquet
import requests
from checks import Checks, equal, holds
from raw_figures import BASES, DATASETS, DAY, MINUTE, Asked, RawFigures, difference

LIST = "moz-fx-data-experiments.monitoring.experimenter_experiments_v1"
# Windows of five minutes are compared since the midnight so many days ago: days of the live tables and of
# the daily one are among them.
FINE_DAYS = 3

T = TypeVar("T")

check = Checks()


def tick() -> int:
    """The tables change when a window of five minutes ends, and at no other moment."""
    return int(time.time()) // 300


class Served:
    """The server, and figures from the raw rows under its own."""

    def __init__(self, base: str) -> None:
        self.base = f"{base}/api/v1"
        self.tick = -1
        self.renew()
        listed = self.get("experiments", active="true", status="Live").json()["experiments"]
        # A few branches make splits worth comparing.
        self.experiment = max(listed, key=lambda experiment: len(experiment["branches"]))
        self.slug = self.experiment["slug"]

    def get(self, path: str, **parameters: str) -> requests.Response:
        """A GET that must succeed."""
        return self.succeeded(path, requests.get(f"{self.base}/{path}", params=parameters, timeout=60))

    def post(self, path: str, body: dict[str, object]) -> requests.Response:
        """A POST that must succeed."""
        return self.succeeded(path, requests.post(f"{self.base}/{path}", json=body, timeout=60))

    @staticmethod
    def succeeded(path: str, answer: requests.Response) -> requests.Response:
        """The answer, if it is one."""
        holds(answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:300]}")
        return answer

    def raw(self, sql: str) -> pyarrow.Table:
        """Rows from the source itself, not from what the server keeps."""
        answer = self.post("query", {"sql": sql, "format": "arrow", "cache": {"mode": "off"}})
        result = answer.headers["X-Weir-Result"]
        holds(result.startswith("mode=off, status=bypass"), result)
        return pyarrow.ipc.open_stream(answer.content).read_all()

    def renew(self) -> None:
        """Fetches the raw rows once a tick; what the server keeps is left behind, since of rows that came
        late to a day of the past it hears within a quarter of an hour."""
        while self.tick != (now := tick()):
            self.tick = now
            self.post("purge", {})
            experiments = self.raw(f"SELECT normandy_slug AS slug, start_date, branches FROM `{LIST}`").to_pylist()
            rows = {base.name: self.raw(base.sql) for base in BASES}
            self.figures = RawFigures(now * 5 * MINUTE, experiments, rows)

    def at_once(self, ask: Callable[[], T]) -> T:
        """What `ask` gives in the tick of the raw rows."""
        while True:
            self.renew()
            answer = ask()
            if tick() == self.tick:
                return answer

    def since(self, asked: Asked) -> int | None:
        """Where the points begin that are asked for."""
        return self.figures.today - FINE_DAYS * DAY if asked.granularity == "5m" else None

    def found(self, asked: Asked) -> pandas.DataFrame:
        """The points of all experiments, in one request."""
        body = {"experiments": list(self.figures.experiments), "format": "arrow"}
        body |= {"by": ",".join(asked.by) or "total", "granularity": asked.granularity}
        if since := self.since(asked):
            body["from"] = since // 1000
        if asked.cumulative is not None:
            body["cumulative"] = str(asked.cumulative).lower()
        table = pyarrow.ipc.open_stream(self.post(f"series/{asked.dataset}", body).content).read_all()
        equal(table.column_names, ["experiment", "time", *asked.by, "value"])
        return self.figures.frame(table, DATASETS[asked.dataset].base)

    def compare(self, asked: list[Asked]) -> None:
        """Fails unless all points are those of the raw rows."""
        with ThreadPoolExecutor(2) as pool:
            found = self.at_once(lambda: list(pool.map(self.found, asked)))
        for question, points in zip(asked, found, strict=True):
            different = difference(question, points, self.figures.points(question, self.since(question)))
            holds(different is None, different)
            holds(len(points) > 1000, f"{question}: {len(points)} points")


@check
def datasets_are_those_of_the_contract(served: Served) -> None:
    """The datasets, their kinds, splits and granularities are the monitoring views'."""
    listed = served.get("datasets").json()["datasets"]
    found = {entry["name"]: (entry["kind"], sorted(entry["splits"]), entry["granularity"]) for entry in listed}
    equal(found, {name: (it.kind, sorted(it.splits), it.finest) for name, it in DATASETS.items()})


@check
def counts_are_the_sums_of_raw_windows(served: Served) -> None:
    """All-time counts of every experiment are the sums of raw windows."""
    document = served.at_once(lambda: served.get("experiments/counts").json())
    equal(document["v1"], served.figures.counts())
    holds(len(document["v1"]) > 100, f"{len(document['v1'])} experiments")
    holds("generated_at" in document, "generated_at stands beside v1")
    one = served.at_once(lambda: served.get(f"experiments/{served.slug}/counts").json())
    equal(one["v1"], {served.slug: served.figures.counts()[served.slug]})


@check
def series_are_the_sums_of_raw_windows(served: Served) -> None:
    """Every dataset of every experiment, split by all that it has, is what raw windows add up to."""
    for name, dataset in DATASETS.items():
        splits = [(split,) for split in ["branch", *dataset.splits]] + [("branch", split) for split in dataset.splits]
        asked = [Asked(name, by, length) for by in [(), *splits] for length in sorted({dataset.finest, "1d"})]
        # Hours of the other splits take longer than they tell.
        hours = [Asked(name, ("branch",), "1h")] if dataset.finest != "1d" else []
        served.compare(asked + hours)


@check
def ages_and_running_sums_are_those_of_raw_windows(served: Served) -> None:
    """So are buckets by age, running sums of flows, and the flows of running sums."""
    served.compare([Asked(name, ("branch",), "auto") for name in DATASETS])
    other = {name: dataset.kind == "flow" for name, dataset in DATASETS.items() if dataset.kind != "level"}
    served.compare([Asked(name, ("branch",), "1d", cumulative) for name, cumulative in other.items()])


@check
def formats_agree(served: Served) -> None:
    """JSON, NDJSON, CSV, Arrow and Parquet hold the same points."""
    path = f"experiments/{served.slug}/series/experiment_enrollment_other_events_overall"
    parameters = {"by": "branch,event", "granularity": "1d"}
    json = served.get(f"{path}.json", **parameters).json()
    names = [column["name"] for column in json["columns"]]
    expected = [tuple(row) for row in json["rows"]]
    holds(len(expected) > 10, "there are points")
    lines = pandas.read_json(io.StringIO(served.get(f"{path}.ndjson", **parameters).text), lines=True, dtype=False)
    csv = pandas.read_csv(io.StringIO(served.get(f"{path}.csv", **parameters).text))
    arrow = pyarrow.ipc.open_stream(served.get(f"{path}.arrow", **parameters).content).read_all().to_pandas()
    parquet = pyarrow.parquet.read_table(io.BytesIO(served.get(f"{path}.parquet", **parameters).content)).to_pandas()
    for frame in [lines, csv, arrow, parquet]:
        equal(list(frame.columns), names)
        frame["time"] = pandas.to_datetime(frame.time, utc=True).dt.strftime("%Y-%m-%dT%H:%M:%SZ")
        equal([tuple(row) for row in frame.itertuples(index=False)], expected)


@check
def what_is_known_is_not_sent_again(served: Served) -> None:
    """An ETag that is sent back brings 304 and no body, and the moment is no part of it."""
    for path in ["experiments/counts", "experiments/health", f"series/{next(iter(DATASETS))}"]:
        first = served.get(path)
        etag = first.headers["ETag"]
        again = requests.get(f"{served.base}/{path}", headers={"If-None-Match": etag}, timeout=60)
        equal((again.status_code, again.content), (304, b""))
        holds("max-age=" in first.headers["Cache-Control"], "it says how long it is fresh")


@check
def health_is_experimenters(served: Served) -> None:
    """The rates of the health rules are those of the counts."""
    counts = served.get(f"experiments/{served.slug}/counts").json()["v1"][served.slug]
    rules = {rule["rule"]: rule for rule in served.get(f"experiments/{served.slug}/health").json()["rules"]}
    rate = counts["total_unenrollments"] / counts["total_enrollments"]
    equal(rules["unenrollment_rate"]["value"], rate)
    equal(rules["unenrollment_spike"]["verdict"], "alert" if rate > 0.10 else "ok")
    ratios = {branch["slug"]: branch["ratio"] for branch in served.experiment["branches"]}
    shares = [
        abs(
            counts["branches"].get(slug, {"enrollments": 0})["enrollments"] / counts["total_enrollments"]
            - ratio / sum(ratios.values())
        )
        for slug, ratio in ratios.items()
    ]
    holds(abs(rules["max_ratio_deviation"]["value"] - max(shares)) < 1e-12, "the deviation is that of the shares")


if __name__ == "__main__":
    check.run(Served(sys.argv[1]))
