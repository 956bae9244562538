"""Starts bqemulator offline, and ends it with the process that started it.

Two departures from `bqemulator start`: DuckDB's spatial extension is not downloaded (so GEOGRAPHY is
missing), and the end of standard input means stop. A parent that dies, however it dies, closes that
pipe; so no emulator is left behind, and the folder named in WEIR_REMOVE_AFTER goes too. Arguments are
those of `bqemulator`.
"""

import os
import shutil
import signal
import sys
import threading

from bqemulator.cli import main
from bqemulator.storage.engine import DuckDBEngine

SECONDS_TO_STOP = 10


def stop_with_parent() -> None:
    """Waits for the end of standard input, then stops: TERM first, the hard way after a while."""
    while os.read(0, 4096):
        pass
    hard = threading.Timer(SECONDS_TO_STOP, leave)
    hard.daemon = True
    hard.start()
    os.kill(os.getpid(), signal.SIGTERM)


def leave() -> None:
    """The hard way: no handler runs, nothing is awaited."""
    remove_folder()
    os._exit(1)


def remove_folder() -> None:
    """Removes the folder that was made for this process alone."""
    folder = os.environ.get("WEIR_REMOVE_AFTER")
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


def without_spatial(_engine: DuckDBEngine) -> None:
    """Stands for `_load_spatial`, which would go to the network."""


if __name__ == "__main__":
    if not hasattr(DuckDBEngine, "_load_spatial"):
        sys.exit("launch.py knows bqemulator 1.4.0; this one has no DuckDBEngine._load_spatial to replace")
    DuckDBEngine._load_spatial = without_spatial
    threading.Thread(target=stop_with_parent, daemon=True).start()
    try:
        main()
    finally:
        remove_folder()
