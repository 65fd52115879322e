"""The native engine: which tensors it takes, that it is right about them, and what happens when a compiler is not."""

from __future__ import annotations

import inspect
import os
import stat
import subprocess
import sys
import typing
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from graphs import RECIPES, SHAPES, Recipe, assert_alike, stepped, tensors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import Parameter

import optim_core
from optim_core import RuleOptimizer, hyper, state
from optim_core.engines import choice, native
from optim_core.engines.native import compiler, kernel
from optim_core.errors import EngineUnavailable, InvalidOption
from optim_core.rules import Value, maximum, mean, norm, sample, square, total


class Everything(RuleOptimizer):
    """Values on all levels: a bit of everything that an engine must get right."""

    lr: float = hyper(0.1, "step size", ge=0)
    every: int = hyper(2, "portion of elements that is sampled", ge=1)

    exp_avg = state("average of g")
    row = state("average size of rows", level="row")
    tensor = state("average norm", level="tensor")
    some = state("some of the elements", every="every")
    whole = state("total so far", level="whole")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        exp_avg: Value,
        row: Value,
        tensor: Value,
        some: Value,
        whole: Value,
        *,
        lr: Value,
        every: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        seen = total(square(sample(g, every)))
        exp_avg = 0.9 * exp_avg + 0.1 * g
        row = 0.5 * row + norm(exp_avg, over="row")
        tensor = 0.5 * tensor + norm(exp_avg / (1 + row)) + mean(row)
        some = some + sample(p * g, every)
        u = exp_avg / (1 + row + tensor) * (1 - 0.5**step)
        return p - lr * u / maximum(1.0, seen + whole), exp_avg, row, tensor, some, whole + seen


def parameters(dtype: torch.dtype = torch.float64, *shapes: tuple[int, ...]) -> list[Parameter]:
    shapes = shapes or ((), (1,), (7,), (3, 5), (4, 2, 3, 3), (1, 6), (6, 1))
    generator = torch.Generator().manual_seed(3)
    return [Parameter(torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)) for shape in shapes]


def feed(params: list[Any], n: int) -> None:
    for i, p in enumerate(params):
        k = torch.arange(p.numel(), dtype=torch.float64).reshape(p.shape)
        p.grad = torch.empty_like(p).copy_(torch.sin(0.7 * k + i + n))


def walk(make: Callable[[list[Any]], Any], params: list[Any], steps: int = 4) -> Any:
    optimizer = make(params)
    for n in range(steps):
        feed(params, n)
        optimizer.step()
    return optimizer


def close(a: list[Any], b: list[Any], rtol: float = 1e-12) -> None:
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=rtol, atol=rtol, equal_nan=True)


def engine_of(optimizer: Any) -> set[str]:
    return {row.engine.partition(":")[0] for row in optimizer.explain()}


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors of some twenty elements then go through everything that large ones do."""
    monkeypatch.setattr(kernel, "CHUNK", 4)
    monkeypatch.setattr(kernel, "BATCH", 16)


@pytest.fixture(params=["usual", "small chunks"])
def chunks(request: pytest.FixtureRequest) -> None:
    if request.param == "small chunks":
        request.getfixturevalue("small_chunks")


# right --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_all_levels_agree_with_eager(dtype: torch.dtype, chunks: None) -> None:
    mine, theirs = parameters(dtype), parameters(dtype)
    native = walk(lambda ps: Everything(ps, engine="native"), mine)
    eager = walk(lambda ps: Everything(ps, engine="eager"), theirs)
    rtol = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2**-7, torch.float16: 2**-10}[dtype]
    close(mine, theirs, rtol)
    for p, q in zip(mine, theirs, strict=True):
        for name, x in native.state[p].items():
            if isinstance(x, Tensor):
                torch.testing.assert_close(x, eager.state[q][name], rtol=min(rtol, 1e-5), atol=min(rtol, 1e-5))
    torch.testing.assert_close(native.whole["whole"], eager.whole["whole"], rtol=1e-6, atol=0)
    assert engine_of(native) == {"native"}
    assert engine_of(eager) == {"eager"}


@pytest.mark.usefixtures("small_chunks")
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.integers(0, 4), max_size=4).map(tuple), min_size=1, max_size=5),
    st.integers(1, 5),
    st.sampled_from([torch.float64, torch.float32]),
)
def test_any_shapes_agree_with_eager(shapes: list[tuple[int, ...]], every: int, dtype: torch.dtype) -> None:
    mine, theirs = parameters(dtype, *shapes), parameters(dtype, *shapes)
    walk(lambda ps: Everything(ps, every=every, engine="native"), mine)
    walk(lambda ps: Everything(ps, every=every, engine="eager"), theirs)
    close(mine, theirs, 1e-12 if dtype is torch.float64 else 1e-5)


@pytest.mark.usefixtures("small_chunks")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(RECIPES, SHAPES, st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16]))
def test_random_graphs_agree_with_eager(recipe: Recipe, shapes: Any, dtype: torch.dtype) -> None:
    compute_dtype = torch.float64 if dtype is torch.float64 else torch.float32
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 2e-3}[dtype]
    buffers = tensors(shapes, {"p": dtype, "g": dtype, "states": compute_dtype}, seed=len(recipe.words))
    wanted = stepped(recipe.graph(), buffers, compute_dtype, "eager")
    assert_alike(stepped(recipe.graph(), buffers, compute_dtype, "native"), wanted, tolerance)


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            params = parameters(torch.float32, (300, 500), (40,), (200, 300))
            walk(lambda ps: Everything(ps, engine="native"), params)
            results.append(params)
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(x, y) for x, y in zip(results[0], other, strict=True))


def test_channels_last_stays_so_and_is_right(chunks: None) -> None:
    made = parameters(torch.float64, (4, 3, 5, 5))[0].detach()
    mine = [Parameter(made.clone(memory_format=torch.channels_last))]
    theirs = [Parameter(made.clone())]
    native = walk(lambda ps: optim_core.get("lamb")(ps, engine="native"), mine)
    walk(lambda ps: optim_core.get("lamb")(ps, engine="eager"), theirs)
    close(mine, theirs)
    assert mine[0].is_contiguous(memory_format=torch.channels_last)
    assert native.state[mine[0]]["exp_avg"].is_contiguous(memory_format=torch.channels_last)
    centred = walk(lambda ps: optim_core.create_optimizer(ps, "adamw", use_gc=True, engine="native"), mine)
    walk(lambda ps: optim_core.create_optimizer(ps, "adamw", use_gc=True, engine="eager"), theirs)
    close(mine, theirs)
    assert engine_of(centred) == {"native"}


def test_complex_parameters_are_pairs_of_real_ones(chunks: None) -> None:
    mine, theirs = ([Parameter(torch.complex(*parameters(torch.float64, (3, 5), (3, 5))).detach())] for _ in range(2))
    walk(lambda ps: optim_core.get("adamw")(ps, engine="native"), mine)
    walk(lambda ps: optim_core.get("adamw")(ps, engine="eager"), theirs)
    close(mine, theirs)


def test_autograd_notices_that_parameters_have_changed() -> None:
    w = Parameter(torch.ones(3))
    optimizer = optim_core.get("lion")([w], engine="native")
    loss = (w * w).sum()
    w.grad = torch.ones(3)
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


# which tensors ------------------------------------------------------------------------------------------------
class Subclass(torch.Tensor):
    """A tensor that is more than memory."""


def strided() -> Parameter:
    return Parameter(torch.randn(8, 6)[:, ::2])


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Parameter(torch.randn(3, 4).as_subclass(Subclass)), "is a"),
        (strided, "gaps in memory"),
    ],
)
def test_what_is_no_plain_memory_goes_to_eager(make: Callable[[], Any], why: str) -> None:
    p = make()
    optimizer = optim_core.get("adamw")([p], engine="native")
    p.grad = torch.ones_like(p)
    before = p.detach().clone()
    with pytest.raises(EngineUnavailable, match=rf"engine='native' \(asked for\) cannot update.*{why}.*engine='auto'"):
        optimizer.step()
    assert torch.equal(p, before)
    optimizer.engine = "auto"
    optimizer.step()
    assert not torch.equal(p, before)
    assert why in optimizer.explain().rows[0].engine


def test_a_gradient_laid_out_otherwise_goes_to_eager() -> None:
    mine, theirs = (parameters(torch.float64, (40, 40), (50, 40)) for _ in range(2))
    native, eager = optim_core.get("lamb")(mine), optim_core.get("lamb")(theirs, engine="eager")
    for n in range(4):
        feed(mine, n)
        feed(theirs, n)
        if n == 2:
            mine[0].grad = mine[0].grad.t().contiguous().t()
        native.step()
        eager.step()
        close(mine, theirs)
    feed(mine, 4)
    mine[0].grad = mine[0].grad.t().contiguous().t()
    native.step()
    assert "laid out in memory in different ways" in native.explain().rows[0].engine
    native.engine = "native"
    with pytest.raises(EngineUnavailable, match="laid out in memory in different ways"):
        native.step()


def test_parameters_that_share_memory_go_to_eager() -> None:
    base = torch.randn(100, 100)
    tied = [Parameter(base[:60]), Parameter(base[40:])]
    for p in tied:
        p.grad = torch.ones_like(p)
    optimizer = optim_core.get("lion")(tied)
    optimizer.step()
    assert "share memory" in optimizer.explain().rows[0].engine
    optimizer.engine = "native"
    with pytest.raises(EngineUnavailable, match="share memory; use engine='eager'"):
        optimizer.step()


def test_a_gradient_that_is_a_parameter() -> None:
    mine, theirs = (parameters(torch.float64, (70, 70), (70, 70)) for _ in range(2))
    for p, q in (mine, theirs):
        p.grad, q.grad = p.detach(), q.detach()  # each its own
    native, eager = optim_core.get("adamw")(mine), optim_core.get("adamw")(theirs, engine="eager")
    native.step()
    eager.step()
    close(mine, theirs)
    assert engine_of(native) == {"native"}
    mine[0].grad = mine[1].detach()  # another's
    native.step()
    assert "share memory" in native.explain().rows[0].engine


def test_tiny_models_are_left_to_eager() -> None:
    optimizer = walk(optim_core.get("adamw"), parameters())
    assert engine_of(optimizer) == {"eager"}
    assert "too few to compile for" in optimizer.explain().rows[0].engine
    assert engine_of(walk(optim_core.get("adamw"), parameters(torch.float32, (100, 100)))) == {"native"}


# from step to step --------------------------------------------------------------------------------------------
Change = Callable[[list[Any], Any], None]


def _reallocated(params: list[Any], _: Any) -> None:
    params[0].data = params[0].data.clone()


def _transposed(params: list[Any], _: Any) -> None:
    params[1].data = params[1].data.t()


def _doubled(params: list[Any], _: Any) -> None:
    for p in params:
        p.data = p.data.double()


def _fewer(params: list[Any], _: Any) -> None:
    params[2].data = params[2].data[:10]


def _new_state(params: list[Any], optimizer: Any) -> None:
    states = optimizer.state[params[0]]
    states["exp_avg"] = states["exp_avg"].clone() * 0.5


def _new_group(params: list[Any], optimizer: Any) -> None:
    params += parameters(torch.float32, (9, 300))
    optimizer.add_param_group({"params": params[-1:]})


def _new_options(_: list[Any], optimizer: Any) -> None:
    optimizer.param_groups[0].update(lr=0.03, betas=(0.5, 0.6), weight_decay=0.0, maximize=True)


def _amsgrad(_: list[Any], optimizer: Any) -> None:
    optimizer.param_groups[0]["amsgrad"] = True


def _step_count(params: list[Any], optimizer: Any) -> None:
    optimizer.state[params[0]]["step"] = 0


CHANGES = [
    _reallocated,
    _transposed,
    _doubled,
    _fewer,
    _new_state,
    _new_group,
    _new_options,
    _amsgrad,
    _step_count,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("engine", ["eager", "auto"])
def test_whatever_changes_between_steps(change: Change, engine: str) -> None:
    """Against an optimizer that assembles every step anew."""
    mine, theirs = (parameters(torch.float32, (30, 200), (30, 30), (50,)) for _ in range(2))
    tested = optim_core.get("adamw")(mine, lr=0.01, engine=engine)
    reference = optim_core.get("adamw")(theirs, lr=0.01, engine="eager")
    for n in range(6):
        for params, optimizer in ((mine, tested), (theirs, reference)):
            feed(params, n)
            if n == 3:
                change(params, optimizer)
                feed(params, n)
            if change is _fewer and n == 3:
                for name in ("exp_avg", "exp_avg_sq"):
                    optimizer.state[params[2]][name] = optimizer.state[params[2]][name][:10]
            if optimizer is reference:
                optimizer.engine = "eager"  # forgets what it has assembled
            optimizer.step()
        close(mine, theirs, 1e-5)


def test_gradients_come_and_go() -> None:
    mine, theirs = (parameters(torch.float32, (30, 200), (30, 30), (50,)) for _ in range(2))
    tested, reference = optim_core.get("adamw")(mine), optim_core.get("adamw")(theirs, engine="eager")
    for n, missing in enumerate([(), (1,), (1,), (0, 2), (), (), (0, 1, 2), ()]):
        for params, optimizer in ((mine, tested), (theirs, reference)):
            feed(params, n)
            for i in missing:
                params[i].grad = None
            optimizer.engine = optimizer.engine if optimizer is tested else "eager"
            optimizer.step()
        close(mine, theirs, 1e-5)


def test_gradients_of_another_type_or_address_every_step() -> None:
    mine, theirs = (parameters(torch.bfloat16, (60, 100)) for _ in range(2))
    tested, reference = optim_core.get("adamw")(mine), optim_core.get("adamw")(theirs, engine="eager")
    kept = []
    for n in range(5):
        for params, optimizer in ((mine, tested), (theirs, reference)):
            feed(params, n)
            kept.append(params[0].grad)  # so that the next one lies elsewhere
            optimizer.step()
        close(mine, theirs, 2**-7)


@pytest.mark.parametrize("engine", ["eager", "native"])
def test_gradients_are_let_go_of(engine: str) -> None:
    params = parameters(torch.float32, (30, 200))
    optimizer = optim_core.get("adamw")(params, engine=engine)
    for n in range(3):
        feed(params, n)
        kept = weakref.ref(params[0].grad)
        optimizer.step()
        optimizer.zero_grad()
        assert kept() is None


# choosing -----------------------------------------------------------------------------------------------------
def test_the_environment_chooses_for_those_who_leave_it_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTIM_CORE_ENGINE", "eager")
    optimizer = walk(optim_core.get("adamw"), parameters(torch.float32, (100, 100)))
    assert optimizer.explain().rows[0].engine == "eager: OPTIM_CORE_ENGINE"
    asked = walk(lambda ps: optim_core.get("adamw")(ps, engine="native"), parameters(torch.float32, (100, 100)))
    assert asked.explain().rows[0].engine == "native: asked for"
    monkeypatch.setenv("OPTIM_CORE_ENGINE", "natives")
    with pytest.raises(InvalidOption, match="OPTIM_CORE_ENGINE='natives' is not one of 'auto', 'eager', 'native'"):
        walk(optim_core.get("adamw"), parameters())


def test_settings_that_contradict_each_other_are_refused() -> None:
    make = optim_core.get("adamw")
    with pytest.raises(InvalidOption, match="AdamW: engine='fast' is not one of 'auto', 'eager', 'native'"):
        make(parameters(), engine="fast")
    with pytest.raises(InvalidOption, match="foreach=True is for the eager engine; engine='native' has no such mode"):
        make(parameters(), engine="native", foreach=True)
    optimizer = make(parameters(), foreach=True)
    with pytest.raises(InvalidOption, match="foreach=True is for the eager engine"):
        optimizer.engine = "native"
    assert optimizer.engine == "auto"


def test_the_names_of_engines_are_those_of_their_records() -> None:
    parameters = inspect.signature(optim_core.get("adamw")).parameters
    assert typing.get_args(parameters["engine"].annotation) == choice.NAMES
    declared = inspect.get_annotations(RuleOptimizer)["engine"]  # what type checkers read
    assert declared == f"Literal[{', '.join(map(repr, choice.NAMES))}]"


def test_the_engine_can_be_told_before_the_first_step() -> None:
    optimizer = optim_core.get("adamw")(parameters(torch.float32, (100, 100)))
    assert optimizer.explain().rows[0].engine == "native: the fastest on a CPU (before the first step)"


# compilers and caches -----------------------------------------------------------------------------------------
@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache folder of its own, in a process that has not given up on compiling."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("OPTIM_CORE_CACHE", str(folder))
    monkeypatch.setattr(compiler, "_loaded", {})
    monkeypatch.setattr(native.ENGINE, "failure", None)
    compiler._say_once.cache_clear()
    yield folder
    compiler._say_once.cache_clear()


def fake_compiler(tmp_path: Path, script: str) -> str:
    path = tmp_path / "fake-cc"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


BROKEN = {
    "fails": ("echo 'rule.c:1: error: no' >&2; exit 1", "exited with 1: rule.c:1: error: no"),
    "says nothing": ("exit 3", "exited with 3: it said nothing"),
    "is killed": ("kill -9 $$", "was killed by signal 9"),
    "does nothing": ("exit 0", "exited with 0"),
    "hangs": ("sleep 60", "did not finish"),
    "writes nonsense": ('while [ "$1" != -o ]; do shift; done; echo nonsense > "$2"', "cannot be loaded"),
}


@pytest.mark.parametrize(("script", "why"), BROKEN.values(), ids=BROKEN)
def test_a_broken_compiler(
    script: str, why: str, fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setenv("CC", fake_compiler(tmp_path, script))
    monkeypatch.setattr(compiler, "PATIENCE", 0.5)
    mine, theirs = (parameters(torch.float64, (100, 100)) for _ in range(2))
    optimizer = optim_core.get("adamw")(mine, engine="native")
    feed(mine, 0)
    before = mine[0].detach().clone()
    with pytest.raises(EngineUnavailable, match=rf"{why}.*Set CC to a working C compiler, or use engine='eager'"):
        optimizer.step()
    assert torch.equal(mine[0], before)
    assert not caplog.records
    for _ in range(2):  # the log has one line, however many optimizers there are
        walk(optim_core.get("adamw"), parameters(torch.float64, (100, 100)))
    optimizer = walk(optim_core.get("adamw"), mine)
    walk(lambda ps: optim_core.get("adamw")(ps, engine="eager"), theirs)
    close(mine, theirs)
    assert [record.getMessage() for record in caplog.records] == [
        f"update rules run by the eager engine, which is slower: {native.ENGINE.failure}"
    ]
    assert why in optimizer.explain().rows[0].engine


def test_no_compiler(fresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    optimizer = walk(optim_core.get("adamw"), parameters(torch.float32, (100, 100)))
    assert "CC='no-such-compiler' is not a program" in optimizer.explain().rows[0].engine
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", str(fresh))
    with pytest.raises(EngineUnavailable, match=r"there is no C compiler \(cc, gcc or clang\)"):
        walk(lambda ps: optim_core.get("adamw")(ps, engine="native"), parameters())
    assert len(caplog.records) == 1


def lion(engine: str = "native") -> list[Parameter]:
    params = parameters(torch.float64, (9, 7))
    walk(lambda ps: optim_core.get("lion")(ps, engine=engine), params, 1)
    return params


def test_the_cache_is_used(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = lion()
    built = {path: path.stat().st_mtime_ns for path in fresh.iterdir()}
    assert {path.suffix for path in built} == {".so", ".sum"}
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o700
    monkeypatch.setattr(compiler, "_loaded", {})
    monkeypatch.setattr(compiler, "_compile", None)  # is not called
    assert all(torch.equal(x, y) for x, y in zip(first, lion(), strict=True))
    assert built == {path: path.stat().st_mtime_ns for path in fresh.iterdir()}


@pytest.mark.parametrize("spoil", [b"", b"\x7fELF nonsense", None], ids=["empty", "nonsense", "cut short"])
def test_a_spoilt_cache_is_built_anew(spoil: bytes | None, fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = lion()
    for path in fresh.glob("*.so"):
        content = path.read_bytes()
        path.unlink()  # as another process would: what is loaded stays as it is
        path.write_bytes(content[: len(content) // 2] if spoil is None else spoil)
    monkeypatch.setattr(compiler, "_loaded", {})
    assert all(torch.equal(x, y) for x, y in zip(first, lion(), strict=True))


def test_a_cache_from_another_machine_is_not_used(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lion()
    here = set(fresh.glob("*.so"))
    monkeypatch.setattr(compiler, "_loaded", {})
    monkeypatch.setattr(compiler, "processor", lambda: "another one")
    lion()
    assert len(set(fresh.glob("*.so")) - here) == len(here)


def test_a_folder_that_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any, fresh: Path
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("OPTIM_CORE_CACHE", str(tmp_path / "file" / "cache"))
    lion()
    assert "cannot be used (Not a directory): each process compiles its own" in caplog.records[0].getMessage()


def test_a_full_disk(fresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    publish = compiler._publish

    def full(path: Path, content: bytes) -> None:
        if path.parent == fresh:
            raise OSError(28, "No space left on device")
        publish(path, content)

    monkeypatch.setattr(compiler, "_publish", full)
    lion()
    assert f"cannot be kept in {fresh} (No space left on device)" in caplog.records[0].getMessage()


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="a POSIX system's permissions")
def test_a_folder_that_others_may_write_to_is_not_trusted(fresh: Path, caplog: Any) -> None:
    fresh.mkdir()
    fresh.chmod(0o777)
    lion()
    assert not list(fresh.iterdir())
    assert "others may write to it" in caplog.records[0].getMessage()
    assert "OPTIM_CORE_CACHE names another one" in caplog.records[0].getMessage()


def test_many_processes_compile_at_once(fresh: Path) -> None:
    program = (
        "import torch, optim_core\n"
        "w = torch.nn.Parameter(torch.ones(100, 100)); w.grad = torch.ones_like(w)\n"
        "o = optim_core.get('adamw')([w], lr=0.5, weight_decay=0.0, engine='native'); o.step()\n"
        "assert (w - 0.5).abs().max() < 1e-6, w\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(4)]
    assert [process.wait() for process in running] == [0] * 4
    assert len(list(fresh.glob("*.so"))) == 1
    assert not [path for path in fresh.iterdir() if path.suffix not in (".so", ".sum")]
