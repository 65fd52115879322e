"""Code of packs: whatever it raises becomes one line of text, and what it prints stays out of the output."""

from __future__ import annotations

import contextlib
import io
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


class Aside(io.TextIOBase):
    """Stands for standard output: what is written goes to standard error, and the beginning is remembered."""

    def __init__(self) -> None:
        self.said = ""

    def write(self, text: str, /) -> int:
        """Pass a text on."""
        self.said += text[: max(0, _REMEMBERED - len(self.said))]
        return sys.stderr.write(text)

    def flush(self) -> None:
        """Pass that on, too."""
        sys.stderr.flush()


#: Characters of what a pack prints that are kept.
_REMEMBERED = 60


def output_aside() -> contextlib.AbstractContextManager[Aside]:
    """For the time of a ``with``, have ``print`` write to standard error, so that JSON on standard output stays whole.

    It holds for all threads, hence only for the light parts of a pack, its manifest and sizes, not for its classes.
    """
    return contextlib.redirect_stdout(Aside())
