"""Code of packs: whatever it raises becomes one line of text, and what it prints stays out of the output."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from optim_core.text import one_line


def described(error: BaseException) -> str:
    r"""The class and the text of an exception in one printable line.

    Example:
        >>> described(ValueError("a line\nand another"))
        'ValueError: a line\\nand another'
    """
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the class is a stranger's, too
        text = "(without a text)"
    return one_line(f"{type(error).__name__}: {text}")


@contextlib.contextmanager
def contained(failure: Callable[[str], Exception]) -> Iterator[None]:
    """Turn whatever is raised inside, ``SystemExit`` included, into an exception of ours; KeyboardInterrupt passes.

    Some extension modules raise a ``BaseException`` of their own when they cannot be loaded (a panic in Rust), so that
    looking for ``Exception`` is not enough.

    Args:
        failure: makes the exception from a line that describes the one raised.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as cause:
        raise failure(described(cause)) from cause


def output_aside() -> contextlib.AbstractContextManager[object]:
    """For the time of a ``with``, have ``print`` write to standard error, so that JSON on standard output stays whole.

    It holds for all threads, hence only for the light parts of a pack, its manifest and sizes, not for its classes.
    """
    return contextlib.redirect_stdout(sys.stderr)
