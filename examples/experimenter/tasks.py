"""What Experimenter would run every five minutes: fetch the figures of its live experiments from Weir.

    python tasks.py http://127.0.0.1:8088

With celery installed the functions below are its tasks; without, they are plain functions.
"""

from __future__ import annotations

import json
import sys
from collections.abc import MutableMapping
from dataclasses import dataclass, field

import pyarrow
from weir_client import Weir

try:
    from celery import shared_task
except ImportError:

    def shared_task(**_options: object):  # noqa: ANN201 - celery's decorator has no type either
        """Leaves a function as it is."""
        return lambda function: function


# What the monitoring page of an experiment draws, and what each is split by.
DATASETS = {
    "experiment_enrollment_overall": "branch",
    "experiment_unenrollment_overall": "branch",
    "experiment_enrollment_cumulative_population_estimate": "branch",
    "experiment_enrollment_daily_active_population": "branch",
}


@dataclass
class Monitoring:
    """What is kept between runs; Experimenter keeps it in its database."""

    counts: dict[str, dict] = field(default_factory=dict)
    health: dict[str, dict] = field(default_factory=dict)
    series: dict[str, pyarrow.Table] = field(default_factory=dict)
    """Slugs whose counts were written, each with one line in its change log."""
    written: list[str] = field(default_factory=list)


def fetch_counts(weir: Weir, kept: Monitoring) -> None:
    """Takes over the counts that differ; `generated_at` stands outside of what is compared."""
    answer = weir.get("experiments/counts")
    if not answer.changed:
        return
    for slug, counts in json.loads(answer.content)["v1"].items():
        if kept.counts.get(slug) != counts:
            kept.counts[slug] = counts
            kept.written.append(slug)


def fetch_health(weir: Weir, kept: Monitoring) -> None:
    """Takes over the verdicts of every rule."""
    answer = weir.get("experiments/health")
    if answer.changed:
        kept.health = {one["experiment"]: one for one in json.loads(answer.content)["experiments"]}


def fetch_series(weir: Weir, kept: Monitoring) -> None:
    """Takes over the series that the pages draw, one request for each dataset."""
    for dataset, split in DATASETS.items():
        table, changed = weir.series(dataset, by=split)
        if changed:
            kept.series[dataset] = table


def fetch_all(weir: Weir, kept: Monitoring) -> Monitoring:
    """All of it. A failure leaves what is kept as it was; the next run asks again."""
    kept.written.clear()
    fetch_counts(weir, kept)
    fetch_health(weir, kept)
    fetch_series(weir, kept)
    return kept


_cache: MutableMapping[str, tuple[str, bytes]] = {}
_kept = Monitoring()


@shared_task(name="experiments.fetch_monitoring", ignore_result=True, soft_time_limit=240)
def fetch_monitoring(base_url: str) -> None:
    """The periodic task; its cache lives as long as the worker."""
    fetch_all(Weir(base_url, _cache), _kept)


def main() -> None:
    """Runs it twice, and shows that the second run is told that nothing has changed."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    weir, kept = Weir(sys.argv[1]), Monitoring()
    for run in ("first", "second"):
        fetch_all(weir, kept)
        points = sum(table.num_rows for table in kept.series.values())
        print(f"{run} run: {len(kept.written)} counts written, {len(kept.health)} judged, {points} points kept")


if __name__ == "__main__":
    main()
