"""The benchmarks' own arithmetic and order; nothing here is timed."""

from __future__ import annotations

import inspect
import itertools
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.small import copies

import optim_core
from benchmarks import (
    contenders,
    first_step,
    matrices,
    measure,
    memory,
    peers,
    plot,
    report,
    run,
    sharpness,
    summary,
    timing,
    traffic,
)
from benchmarks.contenders import COMPILED, KOZISTR, OURS, TORCH, Contender, Started
from benchmarks.results import Absence, FirstStep, Measurement, Method, Results
from benchmarks.shapes import SHAPE_SETS, ShapeSet
from optim_core import RuleOptimizer, hyper, state
from optim_core.catalog.specs import OptimizerSpec
from optim_core.rules import Value, mean, norm, square, stacked, total

TINY = ShapeSet("tiny", layers=1, width=4)


class Plain(RuleOptimizer):
    """One state."""

    lr: float = hyper(0.1, "step size", ge=0)
    heavy: bool = hyper(default=True, doc="whether there is a state")

    momentum_buffer = state("average of g", when="heavy")

    @staticmethod
    def rule(p: Value, g: Value, momentum_buffer: Value | None, *, lr: Value) -> tuple[Value | None, ...]:
        if momentum_buffer is None:
            return p - lr * g, None
        new = momentum_buffer + g
        return p - lr * new, new


class Anchored(RuleOptimizer):
    """A state that is only read, one of every fourth element, one number a row and one a tensor."""

    lr: float = hyper(0.1, "step size", ge=0)

    p0 = state("where p began", start="p")
    row = state("a number a row", level="row")
    tensor = state("a number a tensor", level="tensor")
    d = state("a number for the model", level="whole")

    @staticmethod
    def rule(p: Value, g: Value, p0: Value, row: Value, tensor: Value, d: Value, *, lr: Value) -> tuple[Value, ...]:
        row = row + mean(square(g), "row")
        tensor = tensor + norm(g)
        return p - lr * (p - p0) * row / tensor, p0, row, tensor, d + total(g)


class Stacked(RuleOptimizer):
    """A rule on matrices."""

    lr: float = hyper(0.1, "step size", ge=0)

    momentum_buffer = state("average of g")

    @staticmethod
    def rule(p: Any, g: Any, momentum_buffer: Any, *, lr: float) -> Any:
        return p - lr * _halved(g), momentum_buffer + g


@stacked("element")
def _halved(g: Any) -> Any:
    return g / 2


# what must be moved --------------------------------------------------------------------------------------------
def test_bytes_of_elementwise_methods() -> None:
    params = TINY.parameters()  # 16 + 4 numbers of 4 bytes
    assert traffic.bytes_moved(Plain(params, heavy=False), TINY.shapes) == 3 * 20 * 4
    assert traffic.bytes_moved(Plain(params), TINY.shapes) == 5 * 20 * 4
    assert traffic.work_of(Plain(params), TINY.shapes) == "elementwise"


def test_bytes_follow_what_the_graph_touches() -> None:
    optimizer = Anchored(TINY.parameters())
    elements, rows, tensors = 4 * 20, 2 * (4 + 4), 2 * 2  # p twice, g and p0 once each
    assert traffic.bytes_moved(optimizer, TINY.shapes) == 4 * (elements + rows + tensors)
    assert traffic.work_of(optimizer, TINY.shapes) == "reductions"


def test_bytes_of_matrix_methods_follow_their_states() -> None:
    optimizer = Stacked(TINY.parameters())
    assert traffic.bytes_moved(optimizer, TINY.shapes) == 5 * 20 * 4
    assert traffic.work_of(optimizer, TINY.shapes) == "matrices"


def test_other_classes_are_not_judged() -> None:
    theirs = torch.optim.SGD(TINY.parameters())
    assert traffic.bytes_moved(theirs, TINY.shapes) == 0
    assert traffic.work_of(theirs, TINY.shapes) == "matrices"


@pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")
def test_every_registered_optimizer_is_described() -> None:
    for spec in optim_core.find(kind="optimizer"):
        method = measure.described(spec, [TINY])
        least = 3 * TINY.numel * traffic.FLOAT32  # nothing moves a weight without reading and writing it
        assert method.bytes_moved["tiny"] >= least, spec.name


# what sharpness costs -----------------------------------------------------------------------------------------
def test_the_cost_of_sharpness(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sharpness, "LIVES", 2)
    threads = torch.get_num_threads()
    try:
        sharpness.main(["--only", "sam,looksam", "--rounds", "4"])
    finally:
        torch.set_num_threads(threads)
    page = capsys.readouterr().out
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.endswith("% |")]
    ours = [("sam", OURS), ("looksam", OURS), ("sam", sharpness.BY_HAND)]
    assert [tuple(line[:2]) for line in lines if line[1] != KOZISTR] == ours
    for _, _, step, without, over, *shares in lines:
        assert float(step) - float(without) == pytest.approx(float(over), abs=0.011)
        assert all(share.endswith("%") for share in shares)


# who else has it -----------------------------------------------------------------------------------------------
def spec_of(name: str, cls: str, *aliases: str) -> OptimizerSpec:
    return OptimizerSpec(name=name, target=f"x:{cls}", summary="s", license="MIT", aliases=aliases)


def theirs(name: str, module: str = "theirs.module") -> Any:
    return type(name, (torch.optim.SGD,), {"__module__": module})


def test_peers_are_found_by_name_class_or_alias() -> None:
    library = SimpleNamespace(
        AdaBelief=theirs("AdaBelief"), SignSGD=theirs("SignSGD"), Sophia=theirs("Sophia"), AdamW=torch.optim.AdamW, x=1
    )
    found = peers.classes(library, own="theirs")
    assert sorted(found) == ["adabelief", "signsgd", "sophia"]  # AdamW is torch's, passed on
    for spec, expected in {
        spec_of("ada_belief", "Other"): library.AdaBelief,
        spec_of("signum", "SignSGD"): library.SignSGD,
        spec_of("sophiah", "SophiaH", "sophia"): library.Sophia,
        spec_of("lion", "Lion"): None,
    }.items():
        assert peers.peer(spec, found, "theirs") is expected


def test_torch_s_own_classes_are_found() -> None:
    found = peers.classes(torch.optim, own="torch")
    assert peers.peer(spec_of("adamw", "AdamW"), found, TORCH) is torch.optim.AdamW
    assert peers.peer(spec_of("asgd", "ASGD"), found, TORCH) is None  # another method of that name


def test_settings_follow_the_signature() -> None:
    class Needy(torch.optim.SGD):
        def __init__(self, params: Any, num_iterations: int, lr: float = 0.1, fused: bool = False) -> None:
            super().__init__(params, lr)

    assert peers.settings(Needy) == [{"num_iterations": 10_000}, {"num_iterations": 10_000, "fused": True}]
    assert [peers.described(way) for way in peers.settings(torch.optim.AdamW)] == ["single tensor", "foreach", "fused"]


def test_contenders_of_a_method() -> None:
    found = contenders.contenders(optim_core.find("adamw", kind="optimizer")[0], ("eager", "auto"), compiled=False)
    ours = [c.setting for c in found if c.library == OURS]
    assert ours == ["eager", "auto"]
    assert [c.setting for c in found if c.library == TORCH] == ["single tensor", "foreach", "fused"]
    for contender in found:
        params = TINY.parameters()
        before = copies(params)
        contender.start(params).step()
        assert not all(map(torch.equal, before, params))


def test_a_factory_helps_where_a_constructor_wants_more() -> None:
    class Picky(torch.optim.SGD):
        def __init__(self, params: Any, lr: float = 0.5, foreach: bool | None = None) -> None:
            super().__init__(params, lr, foreach=foreach)
            if len(self.param_groups) == 1:
                raise ValueError("matrices and biases, please")

    def create_optimizer(model: Any, name: str, **options: Any) -> Any:
        assert (name, options) == ("picky", {"lr": 0.5, "foreach": True})
        linear = [m for m in model if isinstance(m, torch.nn.Linear)]
        return Picky([{"params": [m.weight for m in linear]}, {"params": [m.bias for m in linear]}], **options)

    params = ShapeSet("two", layers=2, width=3).parameters()
    made = contenders._theirs(SimpleNamespace(create_optimizer=create_optimizer), Picky, {"foreach": True}, params)
    assert [[p.ndim for p in group["params"]] for group in made.param_groups] == [[2, 2], [1, 1]]
    with pytest.raises(ValueError, match="please"):
        contenders._theirs(SimpleNamespace(), Picky, {}, params)


@pytest.mark.parametrize("need", ["create_graph", "loss", "closure", "named_params"])
def test_methods_that_need_more_than_gradients_are_handed_it(need: Any) -> None:
    for spec in optim_core.find(kind="optimizer", needs=need):
        params = TINY.parameters()
        started = contenders.contenders(spec, ("eager",), compiled=False)[0].start(params)
        for _ in range(3):
            started.step()
        assert started.held(params) >= 2 * TINY.numel * 4


# rounds --------------------------------------------------------------------------------------------------------
def recorded(log: list[str], name: str, after: int = 10**9) -> timing.Runner:
    def step() -> None:
        log.append(name)
        if log.count(name) > after:
            raise RuntimeError("no more\nof this")

    contender = Contender(name, OURS, "", lambda _: Started(step))
    return timing.Runner(contender, Started(step), [])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A clock on which every step takes 15 ms: two to a turn."""
    monkeypatch.setattr(timing, "PAUSE", 0)
    ticks = itertools.count()
    return lambda: 0.015 * next(ticks)


def test_contenders_step_in_turn(clock: Any) -> None:
    log: list[str] = []
    runners = [recorded(log, name) for name in "abc"]
    assert list(timing.interleave(runners, 2, clock=clock)) == [1, 2]
    assert "".join(log) == "aabbcc" * 2
    assert [r.seconds for r in runners] == [[pytest.approx(0.015)] * 2] * 3


def test_slow_contenders_sit_out(clock: Any) -> None:
    log: list[str] = []
    list(timing.interleave([recorded(log, "a")], 9, patience=0.05, clock=clock))
    assert len(log) == 2 * 4
    list(timing.interleave([recorded(log, "b")], 9, patience=0, clock=clock))
    assert log.count("b") == 2 * timing.LEAST


def test_who_fails_is_set_aside(clock: Any) -> None:
    log: list[str] = []
    bad, good = recorded(log, "b", after=2), recorded(log, "g")
    list(timing.interleave([bad, good], 3, clock=clock))
    assert bad.failure == "RuntimeError: no more of this"
    assert "".join(log) == "bbggbgggg"
    bad.finish()
    assert bad.extra_bytes is None


def test_who_does_not_move_is_found_out() -> None:
    params = TINY.parameters()
    for p in params:
        p.grad = torch.zeros_like(p)
    idle = Contender("sgd", TORCH, "", lambda ps: Started((o := torch.optim.SGD(ps)).step, o))
    runner = timing.Runner.start(idle, params)
    runner.finish()
    assert runner.failure == "its steps do not move the parameters"


def test_batches_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contenders, "_COPY_BYTES", 1 << 12)
    specs = [optim_core.info(name) for name in ("adamw", "lion", "sgd")]
    log: list[str] = []
    plan = measure.Plan(rounds=1, patience=9, memory=1, engines=("eager",), compiled=False)
    batches = list(measure.measure(TINY, specs, plan, log.append))
    assert [{m.method for m in found} for found, _ in batches] == [{"adamw"}, {"lion"}, {"sgd"}]
    plan = measure.Plan(rounds=1, patience=9, memory=1 << 30, engines=("eager",), compiled=False)
    ((found, absences),) = list(measure.measure(TINY, specs, plan, log.append))
    assert {m.method for m in found} == {"adamw", "lion", "sgd"}
    assert not [a for a in absences if a.library in (OURS, TORCH)]
    assert all(len(m.seconds) == 1 and m.baseline > 0 and m.copy_rate > 0 for m in found)


def test_extra_memory_sees_what_is_freed_again() -> None:
    grown = memory.extra_memory(lambda: torch.zeros(1 << 24).sum())
    assert grown is None or 6e7 < grown < 8e7


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

    monkeypatch.setattr(first_step.subprocess, "run", started)
    never, cached, other, _ = first_step.first_steps(("lion",), (10, 400))
    assert (never.cached, cached.cached, never.seconds, other.tensors) == (False, True, 0.5, 400)
    assert seen[0][0] == ["-m", "benchmarks.first_step", "lion", "10"]
    assert seen[0][1] == seen[1][1] != seen[2][1]
    assert first_step.timed("lion", 1)[0] > 0
    assert inspect.getdoc(first_step)


# methods on matrices -------------------------------------------------------------------------------------------
def test_methods_on_matrices_are_compared_profiled_and_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    case = matrices.Case(
        "muon", ((2, (8, 16)),), 2, {"ns_steps": 3}, ((contenders.TORCH, "Muon", "", {"ns_steps": 3}),)
    )
    (row,) = matrices.compared(case, 2, lambda _: None)
    assert (row["method"], row["matrices"], row["other"]) == ("muon", "2 of 8 x 16", "torch")
    assert row["faster by"] == f"{float(row['its ms']) / float(row['ms']):.2f} x" or float(row["its ms"]) < 1
    monkeypatch.setattr(matrices, "_PROFILED", (1, (8, 8)))
    compared_with, usual = matrices.profiled(case)
    assert (compared_with["options"], usual["options"]) == ("ns_steps=3", "defaults")
    assert "bmm" in compared_with["of it"]
    assert 0 < int(compared_with["inside"].rstrip("%")) < 100
    monkeypatch.setattr(matrices, "GROWTH_COUNTS", (1, 3))
    one, three = matrices.grown(case, 1)
    assert one["state, MB"] == one["declared, MB"] == "0.13"
    assert three["state, MB"] == three["declared, MB"] == "0.39"


def test_a_library_without_the_method_leaves_our_time() -> None:
    case = matrices.Case("muon", ((1, (4, 4)),), 1, {}, (("torch", "NoSuchMethod", "", {}),))
    said: list[str] = []
    (row,) = matrices.compared(case, 1, said.append)
    assert row["other"] == row["its ms"] == ""
    assert any("NoSuchMethod" in text for text in said)


def test_the_page_of_matrices() -> None:
    found = matrices.Findings(times=[{"method": "muon", "ms": "1.0"}])
    text = matrices.page(found, 7)
    assert "| method | ms |\n| --- | --- |\n| muon | 1.0 |" in text
    assert "Not measured." in text
