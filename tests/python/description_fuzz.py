"""Asks the API everything that its own description allows, and much that it does not (schemathesis).

    description_fuzz.py BASE_URL

The exit code is 0 only if no answer is a server error, and every answer has a status, a media type, headers
and a shape that the description names.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
]


def main(base: str) -> int:
    """Runs schemathesis beside this interpreter."""
    command = [
        Path(sys.executable).with_name("st"),
        "run",
        f"{base}/api/v1/openapi.json",
        "--phases=examples,coverage,fuzzing",
        f"--checks={','.join(CHECKS)}",
        # A short run, the same each time.
        "--max-examples=10",
        "--seed=1",
        "--warnings=off",
        "--no-color",
    ]
    # It keeps what it learns in the folder it runs in.
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(command, check=False, cwd=folder).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
