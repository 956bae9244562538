"""Reads Experimenter's routes as Experimenter would, and adds the same figures up from raw windows with pyarrow.

    experiments_reader.py BASE_URL

The server behind BASE_URL must hold the monitoring tables (`weir demo`). One line per check; the exit code
is 0 only if all hold.
"""

import io
import sys

import pandas
import pyarrow
import pyarrow.ipc
import pyarrow.parquet
import requests
from checks import Checks, equal, holds

VIEW = "moz-fx-data-shared-prod.telemetry_derived.experiment_enrollment_aggregates_live_v1"
COUNTERS = ["enroll_count", "unenroll_count", "graduate_count", "exposure_count"]
DATASETS = {
    "experiment_enrollment_overall": lambda rows: rows.enroll_count,
    "experiment_unenrollment_overall": lambda rows: rows.unenroll_count,
    "experiment_exposure_overall": lambda rows: rows.exposure_count,
    "experiment_enrollment_cumulative_population_estimate": lambda rows: rows.enroll_count
    - rows.unenroll_count
    - rows.graduate_count,
}

check = Checks()


class Served:
    """The server, and one experiment whose raw windows are at hand."""

    def __init__(self, base: str) -> None:
        self.base = f"{base}/api/v1"
        listed = self.get("experiments", active="true", status="Live").json()["experiments"]
        # A few branches make splits worth comparing.
        self.experiment = max(listed, key=lambda experiment: len(experiment["branches"]))
        self.slug = self.experiment["slug"]
        sql = (
            f"SELECT window_start, branch, {', '.join(COUNTERS)} FROM `{VIEW}` "
            "WHERE experiment = @slug AND branch IS NOT NULL"
        )
        body = {"sql": sql, "params": {"slug": {"type": "STRING", "value": self.slug}}, "format": "arrow"}
        answer = requests.post(f"{self.base}/query", json=body, timeout=60)
        answer.raise_for_status()
        self.raw = pyarrow.ipc.open_stream(answer.content).read_all()

    def get(self, path: str, **parameters: str) -> requests.Response:
        """A GET that must succeed."""
        answer = requests.get(f"{self.base}/{path}", params=parameters, timeout=60)
        holds(answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:300]}")
        return answer

    def windows(self) -> pandas.DataFrame:
        """The raw windows."""
        return self.raw.to_pandas()


@check
def counts_are_the_sums_of_raw_windows(served: Served) -> None:
    """Counts are the sums of raw windows."""
    document = served.get(f"experiments/{served.slug}/counts").json()
    counts = document["v1"][served.slug]
    sums = served.raw.group_by("branch").aggregate([("enroll_count", "sum"), ("unenroll_count", "sum")]).to_pylist()
    expected = {
        row["branch"]: {"enrollments": row["enroll_count_sum"], "unenrollments": row["unenroll_count_sum"]}
        for row in sums
    }
    equal(counts["branches"], expected)
    equal(counts["total_enrollments"], sum(row["enroll_count_sum"] for row in sums))
    equal(counts["unenrollment_reasons"], {})
    holds("generated_at" in document, "generated_at stands beside v1")


@check
def series_are_the_sums_of_raw_windows(served: Served) -> None:
    """Series by branch are the sums, or running sums, of raw windows at every granularity."""
    start = pandas.Timestamp(served.experiment["start_date"], tz="UTC")
    for dataset, value in DATASETS.items():
        for granularity, length in [("1h", "h"), ("1d", "D")]:
            path = f"experiments/{served.slug}/series/{dataset}.parquet"
            body = served.get(path, by="branch", granularity=granularity).content
            found = pyarrow.parquet.read_table(io.BytesIO(body)).to_pandas()
            windows = served.windows().assign(value=value, time=lambda rows, length=length: rows.window_start.dt.floor(length))
            sums = windows.groupby(["time", "branch"]).value.sum()
            if "cumulative" in dataset:
                sums = sums.groupby("branch").cumsum()
            expected = {key: value for key, value in sums.items() if key[0] >= start}
            got = {(row.time, row.branch): row.value for row in found.itertuples()}
            equal(got, expected)
            holds(len(got) > 2, f"{dataset} {granularity}: {len(got)} points")


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
