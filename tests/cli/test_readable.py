"""What the commands print, in narrow terminals, in ASCII, and where nobody reads it or nothing fits."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from optim_core.catalog.registry import load_class, registry
from optim_core.cli.app import app
from optim_core.cli.options import options_of
from optim_core.terminal import spelt, table
from optim_core.text import literal

FULL = Path("/dev/full")
COMMANDS = (
    ["list"],
    ["show", "muon"],
    ["show", "cosine"],
    ["licenses"],
    ["doctor"],
    ["show", "adamw", "--json"],
    ["-h"],
)


def run(columns: int, *arguments: str):
    return CliRunner(env={"COLUMNS": str(columns)}).invoke(app, arguments, catch_exceptions=False)


CELLS = ("", "lr", "a few words", "https://example.org/" + 9 * "long/", "words " * 20, "two\nlines", "[b]x[/b]")


def words(text: str) -> str:
    return " ".join(text.split())


def overlong(text: str, columns: int) -> list[str]:
    """The lines that are wider than the terminal, though they could have been broken between words."""
    return [line for line in text.splitlines() if len(line) > columns and len(line.split()) > 2]


# widths ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize("kind", ["optimizer", "wrapper", "scheduler"])
@pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")
def test_every_option_is_shown_whole(kind: str, columns: int) -> None:
    for entry in registry().find(kind=kind):
        done = run(columns, "show", entry.full_name)
        assert done.exit_code == 0, done.output
        text = words(done.stdout)
        header = next((line for line in done.stdout.splitlines() if line.split()[:1] in (["option"], ["option:"])), "")
        for option in options_of(load_class(entry.spec)):
            assert "meaning" in header, entry.full_name
            assert all(words(cell) in text for cell in option.row()), (entry.full_name, option)
        assert not overlong(done.stdout, columns)


@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize("command", ["list", "licenses", "doctor"])
def test_every_row_is_shown_whole(command: str, columns: int) -> None:
    done = run(columns, command)
    assert done.exit_code == 0
    text = words(done.stdout)
    assert not overlong(done.stdout, columns)
    for entry in registry().entries:
        cells = {
            "list": (entry.spec.name, entry.spec.summary),
            "licenses": (entry.full_name, entry.spec.license, entry.spec.code_license),
            "doctor": (entry.pack.name, entry.pack.label),
        }[command]
        assert all(words(cell) in text for cell in cells), cells


@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(*[st.sampled_from(CELLS)] * 3), min_size=1, max_size=4),
    columns=st.integers(40, 120),
)
def test_a_table_keeps_all_words(rows: list[tuple[str, str, str]], columns: int) -> None:
    out = Console(width=columns, file=io.StringIO(), highlight=False)
    with out.capture() as captured:
        out.print(table("name", "size", "meaning", rows=rows, out=out, elastic="meaning"), crop=False)
    text = "".join(captured.get().split())
    assert all(word in text for row in rows for cell in row[:2] for word in cell.split())


# encodings and ends ---------------------------------------------------------------------------------------------
def process(arguments: list[str], **options):
    code = "from optim_core.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, *arguments], check=False, stderr=subprocess.PIPE, **options)


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_in_ascii(arguments: list[str]) -> None:
    done = process(arguments, stdout=subprocess.PIPE, env=os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode("ascii")
    assert not done.stderr


@pytest.mark.parametrize("arguments", [["show", "adam±"], ["list", "--pack", "Ω"], ["list", "--kind", "é"]])
def test_errors_in_ascii(arguments: list[str]) -> None:
    done = process(arguments, stdout=subprocess.PIPE, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr.decode("ascii")


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_nobody_reads(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = process(arguments, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_verdict_stands_though_nobody_reads() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    licence = registry().entries[0].spec.license
    done = process(["licenses", "--deny", licence], stdout=writer)
    os.close(writer)
    assert done.returncode == 1
    assert b"not allowed by" in done.stderr


@pytest.mark.skipif(not FULL.exists(), reason="no device that is always full")
def test_nothing_fits() -> None:
    with FULL.open("w") as full:
        done = process(["list"], stdout=full)
    assert done.returncode == 1
    assert done.stderr.decode() == "Error: the output cannot be written: No space left on device\n"


def test_closed_from_the_start() -> None:
    done = subprocess.run(
        ["sh", "-c", f'{sys.executable} -c "from optim_core.cli import main; main()" list >&-'],  # noqa: S607
        check=False,
        stderr=subprocess.PIPE,
    )
    assert (done.returncode, done.stderr) == (0, b"")


@given(st.text(), st.sampled_from(["ascii", "latin-1", "utf-8"]))
def test_spelling_always_fits(text: str, encoding: str) -> None:
    try:
        assert text.encode(encoding).decode(encoding) == spelt(text, encoding)
    except UnicodeEncodeError:
        spelt(text, encoding).encode(encoding)


# what is said ---------------------------------------------------------------------------------------------------
def test_help_has_whole_sentences_and_exit_codes() -> None:
    for columns in (60, 80):
        text = words(run(columns, "--help").output)
        assert "..." not in text.partition("Commands:")[2]
        assert "Check the installation. Exits with 1 if something is broken." in text
        assert "Exit codes: 0 all is well" in text
    assert "[default: 1e9" in words(run(80, "show", "-h").output)


@pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")
def test_json_has_the_options_of_every_method() -> None:
    for entry in registry().entries:
        done = run(80, "show", entry.full_name, "--json")
        shown = json.loads(done.stdout, parse_constant=pytest.fail)
        options = list(options_of(load_class(entry.spec)))
        assert [row["name"] for row in shown["options"]] == [option.name for option in options]
        assert all(("default" in row) is not row["required"] for row in shown["options"])
    lr = next(row for row in json.loads(run(80, "show", "lion", "--json").stdout)["options"] if row["name"] == "lr")
    assert lr["range"] == {">=": 0}
    assert lr["search"][0] < lr["default"] < lr["search"][1]


def test_torchs_own_classes_are_shown() -> None:
    for name, option in {"torch:asgd": "lambd", "torch:StepLR": "gamma", "Torch: adam-w": "weight_decay"}.items():
        assert option in run(80, "show", name).stdout
        assert option in [row["name"] for row in json.loads(run(80, "show", name, "--json").stdout)["options"]]
    done = run(80, "show", "torch:asgdd")
    assert done.exit_code == 1
    assert "Did you mean 'ASGD'" in done.stderr


@given(st.floats(allow_nan=False))
def test_a_literal_is_the_number(value: float) -> None:
    assert float(literal(value)) == value
    assert len(literal(value)) <= len(repr(value))
