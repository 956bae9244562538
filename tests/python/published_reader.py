"""Reads a folder that `weir publish` wrote, as its users do: json, pyarrow, pandas, polars, duckdb, and
Experimenter's storage class (`exists`, then `open(...).read()`).

    published_reader.py FOLDER FORM          FORM is `plain` or `compat`
"""

import hashlib
import json
import re
import sys
from datetime import datetime, timezone
from pathlib import Path

import duckdb
import pandas
import polars
import pyarrow.parquet
from checks import Checks, equal, holds

DATASETS = (
    "experiment_enrollment_other_events_overall",
    "experiment_enrollment_cumulative_population_estimate",
    "experiment_enrollment_overall",
    "experiment_unenrollment_overall",
    "experiment_cumulative_ad_clicks",
    "experiment_cumulative_search_count",
    "experiment_cumulative_search_with_ads_count",
    "experiment_enrollment_daily_active_population",
)
ENROLLMENT = "experiment_enrollment_overall"
PLAIN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
COMPAT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC")

check = Checks()


class Storage:
    """Experimenter's way to a file: a storage class over a folder."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def exists(self, path: str) -> bool:
        return (self.folder / path).exists()

    def open(self, path: str):  # noqa: ANN201 - an open file
        return (self.folder / path).open("rb")


def load(folder: str, path: str) -> object:
    """`exists`, then `open(...).read()`."""
    storage = Storage(folder)
    return json.loads(storage.open(path).read()) if storage.exists(path) else None


@check
def counts_are_in_experimenters_envelope(folder: str, _form: str) -> None:
    """counts are in the envelope that Experimenter reads, and their sums hold"""
    document = load(folder, "enrollment_counts/enrollment_counts_latest.json")
    equal(sorted(document), ["generated_at", "v1"])
    holds(len(document["v1"]) > 10, f"{len(document['v1'])} slugs")
    for slug, counts in document["v1"].items():
        keys = {"total_enrollments", "total_unenrollments", "branches", "unenrollment_reasons"}
        equal(set(counts) - {"reasons_by_branch"}, keys)
        for total, part in (("total_enrollments", "enrollments"), ("total_unenrollments", "unenrollments")):
            equal(sum(branch[part] for branch in counts["branches"].values()), counts[total])
            holds(type(counts[total]) is int, f"{slug}: {counts[total]!r}")
    equal(load(folder, "enrollment_counts/enrollment_funnel_v1_latest.json"), {"v1": {}})


@check
def every_row_is_well_formed(folder: str, form: str) -> None:
    """rows are newest first, with the keys, times and numbers of the form, and no key repeats"""
    files = sorted(Path(folder, "monitoring").glob("*.json"))
    holds(len(files) > 100, f"{len(files)} files")
    time, number = (PLAIN, int) if form == "plain" else (COMPAT, str)
    for file in files:
        rows = json.loads(file.read_bytes())
        keys = ["time"] + ["branch"] * file.stem.endswith("_by_branch") + ["event"] * ("other_events" in file.stem)
        seen = set()
        for row in rows:
            equal(list(row), [*keys, "value"])
            holds(time.fullmatch(row["time"]) and type(row["value"]) is number, f"{file.name}: {row}")
            seen.add(tuple(row[key] for key in keys))
        equal(len(seen), len(rows))
        times = [row["time"] for row in rows]
        equal(times, sorted(times, reverse=True))


@check
def the_index_tells_of_every_object(folder: str, _form: str) -> None:
    """the index has the hash and size of every file, and every file is in it"""
    index = load(folder, "index.json")
    found = {
        path.relative_to(folder).as_posix(): path for path in Path(folder).glob("*/*") if path.is_file()
    }
    equal(sorted(index["objects"]), sorted(found))
    for name, entry in index["objects"].items():
        content = found[name].read_bytes()
        equal((entry["sha256"], entry["bytes"]), (hashlib.sha256(content).hexdigest(), len(content)))
    generated = datetime.fromisoformat(index["generated_at"])
    holds(abs((datetime.now(timezone.utc) - generated).total_seconds()) < 3600, index["generated_at"])


@check
def all_readers_of_tables_agree_with_the_files(folder: str, _form: str) -> None:
    """pyarrow, pandas, polars and duckdb read the same sums from Parquet as json from the files"""
    for dataset in DATASETS:
        file = f"{folder}/datasets/{dataset}.parquet"
        expected: dict[str, int] = {}
        for path in Path(folder, "monitoring").glob(f"*_{dataset}_by_branch.json"):
            if rows := json.loads(path.read_bytes()):
                expected[path.name.removesuffix(f"_{dataset}_by_branch.json")] = sum(int(row["value"]) for row in rows)
        holds(len(expected) > 5, f"{dataset}: {len(expected)} experiments with rows")
        arrow = pyarrow.parquet.read_table(file).group_by("experiment").aggregate([("value", "sum")]).to_pydict()
        equal(dict(zip(arrow["experiment"], arrow["value_sum"], strict=True)), expected)
        equal(pandas.read_parquet(file).groupby("experiment")["value"].sum().to_dict(), expected)
        lazy = polars.scan_parquet(file).group_by("experiment").agg(polars.col("value").sum()).collect()
        equal(dict(lazy.iter_rows()), expected)
        sums = duckdb.sql(f"SELECT experiment, sum(value)::BIGINT FROM read_parquet('{file}') GROUP BY 1").fetchall()
        equal(dict(sums), expected)


@check
def json_files_are_read_as_tables(folder: str, _form: str) -> None:
    """pandas, polars and duckdb read a file of rows as it is"""
    files = Path(folder, "monitoring").glob(f"*_{ENROLLMENT}_by_branch.json")
    file = max(files, key=lambda path: path.stat().st_size)
    expected = sum(int(row["value"]) for row in json.loads(file.read_bytes()))
    equal(int(pandas.read_json(file)["value"].astype("int64").sum()), expected)
    equal(polars.read_json(file)["value"].cast(polars.Int64).sum(), expected)
    equal(duckdb.sql(f"SELECT sum(value::BIGINT)::BIGINT FROM read_json('{file}')").fetchone()[0], expected)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[2] not in ("plain", "compat"):
        sys.exit(__doc__)
    check.run(*sys.argv[1:])
