"""Runs the client example against a served demo, as a worker would: again and again, with its caches.

    experimenter_example.py BASE_URL
"""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

from checks import Checks, equal, holds

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "experimenter"))
import tasks  # noqa: E402
from weir_client import Weir, WeirError  # noqa: E402

check = Checks()


@check
def a_run_keeps_everything(base_url: str) -> None:
    """a run keeps counts, health and series of all active experiments"""
    kept = tasks.fetch_all(Weir(base_url), tasks.Monitoring())
    holds(len(kept.counts) > 10, f"{len(kept.counts)} counts")
    equal(sorted(kept.written), sorted(kept.counts))
    equal(set(kept.series), set(tasks.DATASETS))
    for dataset, table in kept.series.items():
        holds(table.num_rows > 0, f"{dataset} has rows")
        holds({"experiment", "time", "branch", "value"} <= set(table.column_names), f"columns {table.column_names}")
        holds(set(table["experiment"].to_pylist()) <= set(kept.health), f"{dataset}: experiments without health")


@check
def a_second_run_writes_nothing(base_url: str) -> None:
    """a second run at once writes no counts, and is answered without bodies"""
    weir, kept = Weir(base_url), tasks.Monitoring()
    tasks.fetch_all(weir, kept)
    statuses = []
    weir.session.hooks["response"].append(lambda response, **_: statuses.append(response.status_code))
    tasks.fetch_all(weir, kept)
    equal(kept.written, [])
    # A window may have ended between the two runs: then some are new.
    holds(304 in statuses and set(statuses) <= {200, 304}, f"statuses {statuses}")


@check
def all_pages_are_all_experiments(base_url: str) -> None:
    """the pages of the list hold every active experiment"""
    weir = Weir(base_url)
    pages = list(weir.pages(active="true"))
    kept = tasks.Monitoring()
    tasks.fetch_health(weir, kept)
    holds(len(pages) >= 1 and all(page for page in pages), "pages")
    holds(len(kept.health) > 10, f"{len(kept.health)} judged")


@check
def a_mistake_is_told_in_weirs_words(base_url: str) -> None:
    """a dataset that there is not is named in the error"""
    try:
        Weir(base_url).series("experiment_enrolment_overall")
    except WeirError as error:
        holds("experiment_enrolment_overall" in str(error) and str(error).startswith("404"), str(error))
    else:
        holds(False, "no error")


@check
def an_overload_is_waited_for(_base_url: str) -> None:
    """a server that is overloaded is asked again"""
    asked = []

    class Overloaded(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802 - http.server's name
            asked.append(self.path)
            busy = len(asked) < 3
            self.send_response(503 if busy else 200)
            if busy:
                self.send_header("Retry-After", "0")
            body = b"{}"
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Overloaded)
    Thread(target=server.serve_forever, daemon=True).start()
    answer = Weir(f"http://127.0.0.1:{server.server_port}").get("experiments/counts")
    server.shutdown()
    equal((answer.content, len(asked)), (b"{}", 3))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    check.run(sys.argv[1])
