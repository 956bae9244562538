"""A client of Weir's API for experiments: retries, and ETags so that what has not changed is not sent again."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

import pyarrow
import pyarrow.ipc
import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

ARROW = "application/vnd.apache.arrow.stream"
JSON = "application/json"

# Weir is overloaded, or BigQuery is not reachable: both pass. Retry-After is waited for.
RETRIED = (429, 502, 503, 504)


class WeirError(Exception):
    """Weir's own words: the `detail` of its problem document names what is wrong and what to do."""


@dataclass(frozen=True)
class Answer:
    """Some content, and whether it is another than the last time it was asked for."""

    content: bytes
    changed: bool


class Weir:
    """The API below a base URL. `cache` keeps answers by address: a dict, or anything that outlives a task."""

    def __init__(self, base_url: str, cache: MutableMapping[str, tuple[str, bytes]] | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self.cache = {} if cache is None else cache
        self.session = requests.Session()
        retry = Retry(total=4, backoff_factor=0.5, status_forcelist=RETRIED, allowed_methods=("GET",), raise_on_status=False)
        self.session.mount(self.base_url, HTTPAdapter(max_retries=retry))

    def get(self, path: str, accept: str = JSON, **parameters: str) -> Answer:
        """An answer, from the cache if the server says that it still holds."""
        request = requests.Request("GET", f"{self.base_url}/api/v1/{path}", params=parameters, headers={"Accept": accept})
        prepared = self.session.prepare_request(request)
        key = f"{accept} {prepared.url}"
        etag, content = self.cache.get(key, (None, b""))
        if etag:
            prepared.headers["If-None-Match"] = etag
        response = self.session.send(prepared, timeout=(5, 120))
        if response.status_code == 304:
            return Answer(content, changed=False)
        if not response.ok:
            raise WeirError(_reason(response))
        if tag := response.headers.get("ETag"):
            self.cache[key] = (tag, response.content)
        return Answer(response.content, changed=True)

    def pages(self, **filters: str) -> Iterable[bytes]:
        """The pages of the list of experiments."""
        offset = 0
        while True:
            answer = self.get("experiments", offset=str(offset), limit="500", **filters).content
            yield answer
            page = json.loads(answer)
            offset += len(page["experiments"])
            if not page["next"]:
                return

    def series(self, dataset: str, **parameters: Any) -> tuple[pyarrow.Table, bool]:
        """A dataset of the active experiments, or of those in `experiments`, as a table; and whether it changed."""
        answer = self.get(f"series/{dataset}", accept=ARROW, **parameters)
        return pyarrow.ipc.open_stream(io.BytesIO(answer.content)).read_all(), answer.changed


def _reason(response: requests.Response) -> str:
    try:
        return f"{response.status_code}: {response.json()['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"{response.status_code}: {response.text[:200]}"
