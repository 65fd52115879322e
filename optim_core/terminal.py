"""The terminal: its width and its encoding, tables that fit, and streams that may end before the output does."""

from __future__ import annotations

import codecs
import io
import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from textwrap import TextWrapper, wrap
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

#: Columns where the output is not a terminal.
_WIDTH = 160
#: The fewest columns in which a meaning is read with ease; with fewer, a table's rows are stacked.
_READABLE = 40
#: Rows above which a table is laid out here.
_MANY = 500
#: The name under which `reconfigure` and `open` know the spelling of what an encoding lacks.
_SPELT = "optim_core.spelt"
_SPELLINGS = {"±": "+-", "µ": "u", "\u00d7": "x", "√": "sqrt", "\u2013": "-", "—": "-", "\u2018": "'", "\u2019": "'"}
_SPELLINGS |= dict.fromkeys("█▉▊▋▌━╸╺", "#") | dict.fromkeys("▍▎▏", " ")


# what is written -------------------------------------------------------------------------------------------------
def spelt(text: str, encoding: str | None) -> str:
    """A text in the characters that an encoding has.

    Example:
        >>> spelt("98.0 ± 0.2 %, Poincaré", "ascii")
        '98.0 +- 0.2 %, Poincare'
    """
    try:
        text.encode(encoding or "ascii")
    except UnicodeEncodeError:
        return "".join(_spell(char, encoding or "ascii") for char in text)
    return text


def _spell(char: str, encoding: str) -> str:
    for candidate in (char, _SPELLINGS.get(char, ""), unicodedata.normalize("NFKD", char)):
        kept = candidate.encode(encoding, "ignore").decode(encoding)
        if kept:
            return kept
    return "" if unicodedata.combining(char) else "?"


def _spell_error(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return spelt(error.object[error.start : error.end], "ascii"), error.end


codecs.register_error(_SPELT, _spell_error)


def console() -> Console:
    """The console that a command writes to."""
    plain = Console(highlight=False)
    if plain.is_terminal or "COLUMNS" in os.environ:
        return plain
    return Console(highlight=False, width=_WIDTH)


def say(text: str = "", *, err: bool = False, indent: str = "", wrap: bool = False) -> None:
    """Write a paragraph.

    Args:
        text: without markup.
        err: to standard error.
        indent: what begins all lines but the first, where it is wrapped.
        wrap: between words at the width of the terminal; a word that is longer, such as an address, stays whole.
    """
    stream = sys.stderr if err else sys.stdout
    if wrap:
        text = wrapped(text, console().width, indent)
    stream.write(spelt(text, getattr(stream, "encoding", None) or "utf-8") + "\n")
    stream.flush()


def wrapped(text: str, width: int, indent: str = "", first: str = "") -> str:
    """A text in lines of a width; words longer than that stay whole."""
    wrapper = TextWrapper(
        width=max(width, len(indent) + 20),
        initial_indent=first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return wrapper.fill(text)


# tables ----------------------------------------------------------------------------------------------------------
def table(
    *headers: str,
    rows: Iterable[Sequence[str]],
    out: Console,
    elastic: str = "",
    right: Iterable[str] = (),
    styles: Sequence[str] = (),
) -> RenderableType:
    """A table of plain texts: columns where they fit into the console, a paragraph for each row where they do not.

    Args:
        headers: of the columns.
        rows: the cells of each row.
        out: where it will be printed.
        elastic: the header of the column that may be folded.
        right: the headers of columns whose cells end at the same place.
        styles: of the rows, if they differ.
    """
    cells = [[spelt(cell, out.encoding) for cell in row] for row in rows]
    looks = styles or [""] * len(cells)
    if _fits(headers, cells, elastic, out.width):
        if len(cells) > _MANY and not (styles or right):
            return "\n".join(plain_lines(headers, cells, elastic, out.width))
        result = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for header in headers:
            is_elastic = header == elastic
            result.add_column(
                header,
                no_wrap=not is_elastic,
                overflow="fold",
                ratio=1 if is_elastic else None,
                justify="right" if header in tuple(right) else "left",
            )
        for row, style in zip(cells, looks, strict=True):
            result.add_row(*map(Text, row), style=style)
        return result
    return _stacked(headers, cells, elastic, out.width, looks)


def plain_lines(headers: Sequence[str], rows: Sequence[Sequence[str]], elastic: str, width: int) -> Iterator[str]:
    """The lines of a table as rich would lay it out, without rich, which takes half a millisecond for a row."""
    widths = [max(map(_longest, column)) for column in zip(headers, *rows, strict=True)]
    if elastic:
        at = list(headers).index(elastic)
        widths[at] = min(widths[at], width - sum(widths) + widths[at] - 2 * len(widths))

    def line(cells: Sequence[str]) -> str:
        return " " + "  ".join(c + " " * (w - _longest(c)) for c, w in zip(cells, widths, strict=True))

    yield from ("", line(headers), " " + "\u2500" * (sum(widths) + 2 * len(widths) - 2))
    for row in rows:
        if elastic and len(row[at]) > widths[at]:
            first, *more = wrap(row[at], widths[at]) or [""]
            yield line([*row[:at], first, *row[at + 1 :]])
            yield from (line([*[""] * at, text, *[""] * (len(row) - at - 1)]) for text in more)
        else:
            yield line(row)
    yield ""


def _fits(headers: Sequence[str], rows: Iterable[Sequence[str]], elastic: str, width: int) -> bool:
    """Return whether columns side by side leave room to read the one that is folded."""
    widths = {header: _longest(header) for header in headers}
    for row in rows:
        for header, cell in zip(headers, row, strict=True):
            widths[header] = max(widths[header], _longest(cell))
    if elastic:
        widths[elastic] = min(widths[elastic], _READABLE)
    return sum(widths.values()) + 2 * len(widths) <= width  # a space of the box, one of padding


def _longest(cell: str) -> int:
    if cell.isascii() and "\n" not in cell:
        return len(cell)
    return max((cell_len(line) for line in cell.splitlines()), default=0)


def _stacked(
    headers: Sequence[str], rows: Iterable[Sequence[str]], elastic: str, width: int, styles: Iterable[str]
) -> Group:
    """Each row as a paragraph: its name, the short cells with their headers, then the long one on lines of its own."""
    title = wrapped(f"{headers[0]}: {', '.join(headers[1:])}", width, "    ")
    parts = [Text(f"\n{title}\n{'-' * min(width, _longest(title))}", style="bold")]
    for row, style in zip(rows, styles, strict=True):
        short = [
            f"{header} {' '.join(cell.split())}"
            for header, cell in zip(headers[1:], row[1:], strict=True)
            if header != elastic and cell.strip()
        ]
        long = row[list(headers).index(elastic)] if elastic and elastic != headers[0] else ""
        lines = [wrapped(f"{' '.join(row[0].split())}: {', '.join(short)}" if short else row[0], width, "    ")]
        lines += [wrapped(long, width, "    ", "    ")] if long else []
        parts.append(Text("\n".join(lines), style=style, overflow="ignore", no_wrap=True))
    return Group(*parts, "")


# streams ---------------------------------------------------------------------------------------------------------
class _Sink(io.FileIO):
    """A file that goes on taking text when nobody reads it or nothing fits, and remembers what was the matter."""

    problem: OSError | None = None

    def write(self, data: Any, /) -> Any:
        size = memoryview(data).nbytes
        if self.problem is None:
            try:
                return super().write(data)
            except OSError as problem:
                self.problem = problem
        return size


class Streams:
    """Standard output and error that never raise: what cannot be encoded is spelt, what nobody reads is dropped."""

    def __init__(self) -> None:
        self._out = sys.stdout = self._open(sys.stdout)
        sys.stderr = self._open(sys.stderr)

    def problem(self) -> OSError | None:
        """Why standard output is incomplete; None if it is not, or if its reader has had enough (``| head``)."""
        self._out.flush()
        sink = getattr(getattr(self._out, "buffer", None), "raw", None)
        problem = sink.problem if isinstance(sink, _Sink) else None
        return None if isinstance(problem, BrokenPipeError) else problem

    @staticmethod
    def _open(stream: Any) -> Any:
        if stream is None:  # closed by whoever started this process
            return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - for the rest of the process
        if not isinstance(stream, io.TextIOWrapper) or stream.isatty():
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors=_SPELT)
            return stream
        stream.flush()
        sink = _Sink(stream.fileno(), "w", closefd=False)
        return io.TextIOWrapper(
            io.BufferedWriter(sink), encoding=stream.encoding, errors=_SPELT, line_buffering=stream.line_buffering
        )
