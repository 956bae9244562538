"""Figures of experiments, added up from raw windows by pandas.

What a dataset is stands here as the views of Mozilla's monitoring have it. Nothing here knows the server
whose figures are compared with these, or asks it for a definition.
"""

from dataclasses import dataclass, field

import numpy
import pandas
import pyarrow

MINUTE = 60_000_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
GRANULARITIES = {"5m": 5 * MINUTE, "30m": 30 * MINUTE, "1h": HOUR, "1d": DAY}
# Granularity by age: days since the start; buckets of today and the two days before, and of what is before.
AGES = [(14, "5m", "1h"), (30, "30m", "1h"), (None, "1h", "1d")]


@dataclass(frozen=True)
class Base:
    """A view or table whose rows are not added up yet."""

    name: str
    counters: list[str]
    # Columns that rows can be split by, under their names in requests.
    splits: dict[str, str] = field(default_factory=dict)
    time: str = "window_start"
    experiment: str = "experiment"

    @property
    def sql(self) -> str:
        """All its rows of a branch; those of none are inflated by legacy events, and count nowhere."""
        splits = [f"{column} AS {name}" for name, column in self.splits.items()]
        columns = [f"{self.time} AS time", f"{self.experiment} AS experiment", "branch", *splits, *self.counters]
        return f"SELECT {', '.join(columns)} FROM `moz-fx-data-shared-prod.{self.name}` WHERE branch IS NOT NULL"


@dataclass(frozen=True)
class Dataset:
    """A dataset: a sum of counters, each with its sign, or the counter of each event."""

    base: Base
    kind: str
    counters: dict[str, int]
    events: dict[str, str] = field(default_factory=dict)
    finest: str = "5m"

    @property
    def splits(self) -> list[str]:
        """What it can be split by besides branches."""
        return [*self.base.splits, *(["event"] if self.events else [])]


@dataclass(frozen=True)
class Asked:
    """What is asked of a dataset: names that it is split by, length of buckets, running sums or not."""

    dataset: str
    by: tuple[str, ...] = ()
    granularity: str = "1d"
    cumulative: bool | None = None

    def __str__(self) -> str:
        sums = "" if self.cumulative is None else f", cumulative={self.cumulative}"
        return f"{self.dataset} by {','.join(self.by) or 'total'}, {self.granularity}{sums}"


OTHER_EVENTS = {
    "graduated": "graduate_count",
    "enroll_failed": "enroll_failed_count",
    "unenroll_failed": "unenroll_failed_count",
    "updated": "update_count",
    "update_failed": "update_failed_count",
    "disqualification": "disqualification_count",
    "validation_failed": "validation_failed_count",
}
ENROLLMENT = Base(
    "telemetry_derived.experiment_enrollment_aggregates_live_v1",
    ["enroll_count", "unenroll_count", "exposure_count", *OTHER_EVENTS.values()],
    {"channel": "normalized_channel"},
)
SEARCH = Base(
    "telemetry_derived.experiment_search_aggregates_live_v1",
    ["search_count", "ad_clicks_count", "search_with_ads_count"],
)
CRASH = Base("telemetry.experiment_crash_rates_live", ["crash_count"], {"process": "crash_process_type"})
ACTIVE = Base(
    "telemetry_derived.experiments_daily_active_clients_v1",
    ["active_clients"],
    # A day's clients are told at its end.
    time="TIMESTAMP(DATE_ADD(submission_date, INTERVAL 1 DAY))",
    experiment="experiment_id",
)
DATASETS = {
    "experiment_enrollment_overall": Dataset(ENROLLMENT, "flow", {"enroll_count": 1}),
    "experiment_unenrollment_overall": Dataset(ENROLLMENT, "flow", {"unenroll_count": 1}),
    "experiment_enrollment_other_events_overall": Dataset(
        ENROLLMENT, "flow", dict.fromkeys(OTHER_EVENTS.values(), 1), OTHER_EVENTS
    ),
    "experiment_exposure_overall": Dataset(ENROLLMENT, "flow", {"exposure_count": 1}),
    "experiment_enrollment_cumulative_population_estimate": Dataset(
        ENROLLMENT, "cumulative", {"enroll_count": 1, "unenroll_count": -1, "graduate_count": -1}
    ),
    "experiment_enrollment_daily_active_population": Dataset(ACTIVE, "level", {"active_clients": 1}, finest="1d"),
    "experiment_cumulative_search_count": Dataset(SEARCH, "cumulative", {"search_count": 1}),
    "experiment_cumulative_ad_clicks": Dataset(SEARCH, "cumulative", {"ad_clicks_count": 1}),
    "experiment_cumulative_search_with_ads_count": Dataset(SEARCH, "cumulative", {"search_with_ads_count": 1}),
    "experiment_crash_counts": Dataset(CRASH, "flow", {"crash_count": 1}),
}
BASES = [ENROLLMENT, SEARCH, CRASH, ACTIVE]


class RawFigures:
    """Figures as of one moment; times are microseconds, names are categories."""

    def __init__(self, now: int, experiments: list[dict], rows: dict[str, pyarrow.Table]) -> None:
        self.today = now // DAY * DAY
        self.experiments = {row["slug"]: row for row in experiments}
        dates = pandas.Series({slug: row["start_date"] for slug, row in self.experiments.items()})
        self.starts = pandas.to_datetime(dates).astype("datetime64[us]").astype("int64")
        self.rows = {name: self.frame(table) for name, table in rows.items()}

    def frame(self, table: pyarrow.Table, base: Base | None = None) -> pandas.DataFrame:
        """A table, its names as categories (those of the base's rows)."""
        known = {} if base is None else self.rows[base.name]
        columns = {}
        for name in table.column_names:
            column = table[name]
            if name == "time":
                columns[name] = column.cast("timestamp[us]").cast("int64").to_numpy()
            elif pyarrow.types.is_string(column.type):
                names = {"experiment": list(self.experiments), "event": list(OTHER_EVENTS)}.get(name)
                categories = known[name].cat.categories if name in known else names
                columns[name] = pandas.Categorical(column.to_pandas(), categories=categories)
            else:
                columns[name] = column.to_numpy()
        return pandas.DataFrame(columns)

    def points(self, asked: Asked, since: int | None = None) -> pandas.DataFrame:
        """The points of all experiments, since their start where nothing else is said."""
        dataset = DATASETS[asked.dataset]
        rows = self.rows[dataset.base.name].dropna(subset=["experiment"])
        length = self._lengths(rows, asked.granularity, dataset.finest)
        rows = rows.assign(time=rows.time // length * length)
        keys = ["experiment", "time", *(name for name in asked.by if name != "event")]
        sums = rows.groupby(keys, observed=True, dropna=False)[list(dataset.counters)].sum()
        if "event" in asked.by:
            values = pandas.concat({event: sums[column] for event, column in dataset.events.items()}, names=["event"])
        else:
            values = sum(sign * sums[column] for column, sign in dataset.counters.items())
        points = values.rename("value").reset_index()
        if "event" in asked.by:
            points["event"] = pandas.Categorical(points.event, categories=list(OTHER_EVENTS))
        if dataset.kind == "cumulative" if asked.cumulative is None else asked.cumulative:
            # The points of one series are in order of their times.
            points["value"] = points.groupby(["experiment", *asked.by], observed=True, dropna=False).value.cumsum()
        return points[points.time >= (self._of(points, self.starts) if since is None else since)]

    def counts(self) -> dict[str, dict]:
        """All-time counts of listed branches of experiments with a start date, as Experimenter's file has them."""
        rows = self.rows[ENROLLMENT.name]
        sums = rows.groupby(["experiment", "branch"], observed=True)[["enroll_count", "unenroll_count"]].sum()
        counts: dict[str, dict] = {}
        for (slug, branch), (enrolled, left) in zip(sums.index, sums.to_numpy().tolist(), strict=True):
            experiment = self.experiments[slug]
            if experiment["start_date"] is None or branch not in {listed["slug"] for listed in experiment["branches"]}:
                continue
            none = {"total_enrollments": 0, "total_unenrollments": 0, "branches": {}, "unenrollment_reasons": {}}
            of_experiment = counts.setdefault(slug, none)
            of_experiment["total_enrollments"] += enrolled
            of_experiment["total_unenrollments"] += left
            of_experiment["branches"][branch] = {"enrollments": enrolled, "unenrollments": left}
        return counts

    def _lengths(self, rows: pandas.DataFrame, granularity: str, finest: str) -> numpy.ndarray | int:
        """The length of the bucket of each row."""
        if granularity != "auto":
            return GRANULARITIES[granularity]
        days = (self.today - self.starts) // DAY
        fits = [days >= 0 if limit is None else days < limit for limit, _, _ in AGES]
        recent, before = (
            self._of(rows, pandas.Series(numpy.select(fits, [GRANULARITIES[age[place]] for age in AGES]), days.index))
            for place in (1, 2)
        )
        return numpy.maximum(numpy.where(rows.time >= self.today - 2 * DAY, recent, before), GRANULARITIES[finest])

    @staticmethod
    def _of(rows: pandas.DataFrame, values: pandas.Series) -> numpy.ndarray:
        """The value of each row's experiment."""
        return values.reindex(rows.experiment.cat.categories).to_numpy()[rows.experiment.cat.codes]


def difference(asked: Asked, found: pandas.DataFrame, expected: pandas.DataFrame) -> str | None:
    """What differs between two tables of points, if anything does."""
    keys = ["experiment", "time", *asked.by]
    both = [frame[[*keys, "value"]].sort_values(keys, ignore_index=True) for frame in (found, expected)]
    if both[0].equals(both[1]):
        return None
    joined = both[0].merge(both[1], on=keys, how="outer", suffixes=("_found", "_expected"))
    wrong = joined[joined.value_found != joined.value_expected]
    some = wrong.head(10).assign(time=pandas.to_datetime(wrong.time, unit="us")).to_string()
    return f"{asked}: {len(wrong)} of {len(joined)} points differ, or some are there twice\n{some}"
