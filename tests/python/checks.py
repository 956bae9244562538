"""A list of checks that are run one after another, a line of output each."""

import sys
import traceback
from collections.abc import Callable


class Checks:
    """Collects functions and runs them; a failure does not stop those after it."""

    def __init__(self) -> None:
        self._checks: list[Callable[..., None]] = []

    def __call__(self, check: Callable[..., None]) -> Callable[..., None]:
        """Adds a function, whose docstring says what holds; for use as a decorator."""
        self._checks.append(check)
        return check

    def run(self, *arguments: object, cannot: tuple[str, ...] = ()) -> None:
        """Runs every check with the same arguments, and ends the process: 0 if all hold, else 1.

        Those named in `cannot` are of something that the other side cannot do: they must fail.
        """
        unknown = set(cannot) - {check.__name__ for check in self._checks}
        if unknown:
            sys.exit(f"no checks are named {sorted(unknown)}")
        failed = 0
        for check in self._checks:
            sentence = (check.__doc__ or check.__name__).strip().rstrip(".")
            expected = check.__name__ not in cannot
            try:
                check(*arguments)
            except Exception as error:  # noqa: BLE001 (whatever it is, it is this check's failure)
                place = traceback.extract_tb(error.__traceback__)[-1]
                why = f"{type(error).__name__}: {error} ({place.name}:{place.lineno})"
                failed += expected
                print(f"FAIL {sentence}: {why}" if expected else f"ok   cannot, as expected: {sentence}")
            else:
                failed += not expected
                print(f"ok   {sentence}" if expected else f"FAIL said to be impossible, but holds: {sentence}")
        print(f"{len(self._checks) - failed} of {len(self._checks)} checks went as expected")
        sys.exit(1 if failed else 0)


def equal(found: object, expected: object) -> None:
    """Fails unless both are equal, and shows both."""
    if found != expected:
        raise AssertionError(f"{found!r} instead of {expected!r}")


def holds(condition: object, otherwise: object) -> None:
    """Fails with `otherwise` unless the condition holds."""
    if not condition:
        raise AssertionError(str(otherwise))
