"""What comes out of the measurements, and the command line."""

from __future__ import annotations

import inspect
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import optim_core
from benchmarks import (
    first_step,
    plot,
    report,
    run,
    summary,
)
from benchmarks.contenders import COMPILED, KOZISTR, OURS, TORCH
from benchmarks.results import Absence, FirstStep, Measurement, Method, Results
from benchmarks.shapes import SHAPE_SETS


# what comes out ------------------------------------------------------------------------------------------------
def measurement(method: str, library: str, setting: str, ratio: float, shapes: str = "big", **more: Any) -> Measurement:
    facts = {
        "baseline": 0.01,
        "copy_rate": 1e10,
        "first": 20.0,
        "extra_bytes": 1_000_000,
        "seconds": [0.01 * ratio] * 9,
    }
    return Measurement(shapes=shapes, method=method, library=library, setting=setting, **(facts | more))


@pytest.fixture
def results() -> Results:
    return Results(
        environment={"torch": "9.9"},
        rounds=9,
        engines=["auto", "eager"],
        baseline_bytes={"big": 700},
        methods=[
            Method(name="adamw", work="elementwise", bytes_moved={"big": 700}),
            Method(name="lion", work="elementwise", bytes_moved={"big": 500}),
            Method(name="lamb", work="reductions", bytes_moved={"big": 700}, given="a | b"),
            Method(name="shampoo", work="matrices", bytes_moved={"big": 900}),
        ],
        measurements=[
            measurement("adamw", OURS, "auto", 0.9),
            measurement("adamw", OURS, "eager", 5.0),
            measurement("adamw", TORCH, "foreach", 4.0),
            measurement("adamw", TORCH, "fused", 1.0),
            measurement("lion", OURS, "auto", 1.0, extra_bytes=None),
            measurement("lion", KOZISTR, "foreach", 3.0),
            measurement("lion", KOZISTR, "single tensor", 2.0),
            measurement("lion", KOZISTR, COMPILED, 0.5),
            measurement("lamb", OURS, "auto", 2.0),
            measurement("lamb", KOZISTR, "foreach", 16.0),
            measurement("shampoo", OURS, "auto", 300.0, seconds=[3.0, 4.0]),
        ],
        absences=[
            Absence(shapes=s, method="muon", library=TORCH, setting="", reason="2-d only") for s in ("small", "big")
        ],
        first_steps=[
            FirstStep(what="adamw", tensors=10, cached=False, seconds=0.5, second=0.0004),
            FirstStep(what="adamw", tensors=10, cached=True, seconds=0.015, second=0.0003),
            FirstStep(what="torch.compile", tensors=10, cached=False, seconds=None, failure="no compiler"),
        ],
    )


def test_results_survive_json(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.json"
    results.save(path)
    assert Results.load(path) == results
    assert json.loads(path.read_text())["engines"] == ["auto", "eager"]


def test_lines_judge_by_bytes(results: Results) -> None:
    found = {line.method.name: line for line in summary.lines(results, "big")}
    assert list(found) == ["adamw", "lion", "lamb", "shampoo"]
    assert [found[n].scaled for n in ("adamw", "lion", "lamb")] == pytest.approx([0.9, 1.4, 2.0])
    assert [line.reached for line in found.values()] == [True, False, True, None]
    assert [m.setting for m in found["adamw"].torch] == ["fused", "foreach"]
    assert found["lion"].kozistr[0].setting == "single tensor"
    assert found["lion"].compiled is not None
    assert found["adamw"].bandwidth == pytest.approx(700 / 0.009 / 1e10)
    assert summary.lines(results, "small") == []


def said(met: int, judged: int, what: str, target: float) -> str:
    return f"{met} of {judged} {what} take at most {target} x the time of fused AdamW for as many bytes"


def test_verdicts_name_what_falls_short(results: Results) -> None:
    assert summary.verdicts(summary.lines(results, "big")) == [
        said(1, 2, "elementwise methods", 1.15) + "; above it: lion (1.40).",
        said(1, 1, "methods with reductions", 2.3) + ".",
        "Against pytorch_optimizer at its fastest setting: 4.00 x as fast in the geometric mean of 2 methods.",
        f"Against {KOZISTR} under {COMPILED}: 0.50 x as fast in the geometric mean of 1 methods; slower: lion (0.50).",
        "Against torch's own classes at their fastest: 1.11 x as fast in the geometric mean of 1 methods.",
    ]


def test_the_page_shows_everything(results: Results) -> None:
    page = report.page(results, "benchmarks.svg")
    for line in (
        "| lion | 10 | 1.00 | 0.71 | 1.40 **!** | 0 % | ? |  | 2.00 (single tensor), 1.0 MB | 2.00 x | 0.50, 20 s | 0.50 x |",  # noqa: E501
        "| adamw | 9 | 0.90 | 1.00 | 0.90 | 0 % | 1.0 | fused 1.00, foreach 4.00 |  |  |  |  |",
        "| big | adamw | 0.90 | 5.00 |",
        "| adamw | 10 | 0.5 | 0.015 | 0.3 |",
        "| torch.compile | 10 | no compiler |  |  |",
        "| muon | torch |  | small, big | 2-d only |",
        "Machine and versions: torch 9.9. 9 rounds, engine 'auto'.",
        "![Step times as multiples of fused AdamW's](benchmarks.svg)",
    ):
        assert line in page.splitlines()
    assert "lamb (sums), a \\| b" in page
    assert "3e+03 (2 rounds)" in page


def test_the_plot_is_svg_with_every_method(results: Results) -> None:
    drawn = plot.svg(results)
    root = ET.fromstring(drawn)  # noqa: S314 - made here
    text = "".join(root.itertext())
    assert all(method.name in text for method in results.methods)
    assert all(library in text for library in plot.COLOURS)
    assert drawn == plot.svg(results)
    assert plot.svg(Results()) == ""


# the command line ----------------------------------------------------------------------------------------------
def test_quick_looks_leave_out_what_is_slow() -> None:
    quick, full = run.arguments(["--only", "adamw, lion", "--shapes", "small"]), run.arguments([])
    assert (quick.only, quick.shapes, quick.compile, quick.first_step) == (("adamw", "lion"), ("small",), False, False)
    assert (full.only, full.shapes, full.compile, full.first_step, full.rounds) == (
        (),
        tuple(SHAPE_SETS),
        True,
        True,
        9,
    )
    assert run.arguments(["--only", "adamw", "--first-step"]).first_step


@pytest.mark.parametrize(
    ("argv", "text"),
    [(["--shapes", "huge"], "huge: there is small, big"), (["--write-docs", "--rounds", "3"], "at least 9")],
)
def test_bad_arguments(argv: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.arguments(argv)
    assert text in capsys.readouterr().err


def test_results_can_be_written_anew(results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results.save(tmp_path / "results.json")
    run.main(["--results", str(tmp_path / "results.json"), "--out", str(tmp_path)])
    assert (tmp_path / "benchmarks.md").read_text() in capsys.readouterr().out
    assert (tmp_path / "benchmarks.svg").exists()


def test_every_registered_optimizer_is_chosen() -> None:
    assert run.chosen(()) == optim_core.find(kind="optimizer")
    assert [spec.name for spec in run.chosen(("AdamW",))] == ["adamw"]


def test_the_first_step_is_measured_in_a_fresh_process_and_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, Any]] = []

    def started(command: list[str], **options: Any) -> Any:
        seen.append((command[1:], options["env"]["OPTIM_CORE_CACHE"]))
        return SimpleNamespace(stdout="warning\n[0.5, 0.001]")

    with monkeypatch.context() as patched:  # the compiler is started by the same function
        patched.setattr(first_step.subprocess, "run", started)
        never, cached, other, _ = first_step.first_steps(("lion",), (10, 400))
    assert (never.cached, cached.cached, never.seconds, other.tensors) == (False, True, 0.5, 400)
    assert seen[0][0] == ["-m", "benchmarks.first_step", "lion", "10"]
    assert seen[0][1] == seen[1][1] != seen[2][1]
    assert first_step.timed("lion", 1)[0] > 0
    assert inspect.getdoc(first_step)
