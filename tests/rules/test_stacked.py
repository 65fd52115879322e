"""Functions of stacks in rules: what they get, what they give, how they fail, and what surrounds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.methods import matrix_optimizers
from support.small import CPU_ENGINES
from torch import Tensor
from torch.nn import Parameter

import optim_core
from optim_core import RuleOptimizer, hyper, state
from optim_core.errors import RuleError
from optim_core.rules import Level, Trace, Value, bfloat16, lerp, norm, square, stacked, total

pytestmark = pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")


@stacked("own", "element")
def whitened(seen: list[Tensor], g: Tensor, *, keep: float) -> tuple[list[Tensor], Tensor]:
    """A method in small: a matrix of second moments, and the gradient divided by its diagonal's root."""
    new = [keep * M + (1 - keep) * torch.bmm(g, g.mT) for M in seen]
    return new, g / (new[0].diagonal(dim1=1, dim2=2).sqrt().unsqueeze(2) + 1e-8)


class Whitening(RuleOptimizer):
    """Momentum of whitened gradients, where there are rows and columns."""

    lr: float = hyper(0.1, "step size", ge=0)
    keep: float = hyper(0.9, "decay", ge=0, lt=1)

    exp_avg = state("average of steps")
    seen = state("second moments", shape=lambda shape, group: [(shape[0],) * 2] if len(shape) == 2 else None)

    @staticmethod
    def rule(p: Value, g: Value, exp_avg: Value, seen: Value | None, *, lr: Value, keep: Value) -> Any:
        x = g * 2
        if seen is not None:
            seen, x = whitened(seen, x, keep=keep)
        exp_avg = lerp(x / (1 + norm(x)), exp_avg, keep)
        return p - lr * exp_avg, exp_avg, seen


def parameters(dtype: torch.dtype = torch.float64) -> list[Parameter]:
    """Three alike, one laid out in another way, one of another shape, one without rows and columns."""
    k = torch.arange(20, dtype=torch.float64)
    shapes: list[Callable[[Tensor], Tensor]] = [*[lambda x: x.reshape(4, 5)] * 3, lambda x: x.reshape(5, 4).mT]
    shapes += [lambda x: x.reshape(2, 10), lambda x: x]
    return [Parameter(shape(torch.sin(k + i)).to(dtype)) for i, shape in enumerate(shapes)]


def expected(params: list[Tensor], steps: int, lr: float = 0.1, keep: float = 0.9) -> list[Tensor]:
    """The same, parameter by parameter, in plain torch."""
    ends = []
    for start in params:
        p, m = start.detach().clone(), torch.zeros_like(start)
        S = torch.zeros(len(p), len(p), dtype=p.dtype)
        for _ in range(steps):
            x = 2 * (p - 0.3)
            if p.ndim == 2:
                S = keep * S + (1 - keep) * x @ x.T
                x = x / (S.diagonal().sqrt()[:, None] + 1e-8)
            m = (1 - keep) * x / (1 + x.norm()) + keep * m
            p = p - lr * m
        ends.append(p)
    return ends


@pytest.mark.parametrize("way", CPU_ENGINES, ids=str)
def test_a_rule_with_a_function_of_stacks(way: dict[str, Any]) -> None:
    params = parameters()
    wanted = expected(list(params), 5)
    optimizer = Whitening(params, **way)
    for _ in range(5):
        optimizer.minimize(lambda: 0.5 * torch.stack([(p - 0.3).square().sum() for p in params]).sum())
    for p, q in zip(params, wanted, strict=True):
        torch.testing.assert_close(p.detach(), q, rtol=1e-12, atol=1e-13)
    assert "seen" not in optimizer.state[params[-1]]
    assert optimizer.state_bytes() == 8 * (4 * (20 + 16) + 20 + 4 + 20)


def test_explain_tells_of_stacks() -> None:
    params = parameters()
    optimizer = Whitening(params, engine="native")
    optimizer.minimize(lambda: torch.stack([p.sum() for p in params]).sum())
    engines = [row.engine for row in optimizer.explain()]
    assert engines[0] == "native: asked for, around torch operations on stacks"
    assert engines[-1] == "native: asked for"


def test_called_with_tensors_it_is_what_it_was() -> None:
    g = torch.ones(1, 2, 2)
    seen, x = whitened([torch.zeros(1, 2, 2)], g, keep=0.0)
    assert seen[0].tolist() == [[[2.0, 2.0], [2.0, 2.0]]]
    torch.testing.assert_close(x, g / 2**0.5)


def test_states_that_are_handed_back_in_another_order() -> None:
    swapped = stacked("own", "own")(lambda a, b: (b, a))

    class Swapping(RuleOptimizer):
        lr: float = hyper(0.1, "step size", ge=0)
        a = state("one", start=1.0, shape=lambda shape, group: (2, 2))
        b = state("other", start=2.0, shape=lambda shape, group: (2, 2))

        @staticmethod
        def rule(p: Value, g: Value, a: Value, b: Value, *, lr: Value) -> Any:
            return p - lr * g, *swapped(a, b)

    for shapes in ([(3,)], [(3,), (3,)]):
        params = [Parameter(torch.zeros(shape)) for shape in shapes]
        optimizer = Swapping(params)
        for held in (2.0, 1.0, 2.0):
            optimizer.minimize(lambda params=params: torch.stack([p.sum() for p in params]).sum())
            assert all(bool((optimizer.state[p]["a"] == held).all()) for p in params)
            assert all(bool((optimizer.state[p]["b"] == 3 - held).all()) for p in params)


def test_a_state_that_has_the_parameters_shape_here_and_its_own_there() -> None:
    @stacked("element", "kept")
    def added(g: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        kept = kept + g[:, :2]
        return torch.nn.functional.pad(kept, (0, 0, 0, g.shape[1] - kept.shape[1])), kept

    class Keeping(RuleOptimizer):
        lr: float = hyper(1.0, "step size", ge=0)
        kept = state("sum of two rows", shape=lambda shape, group: (2, shape[1]))

        @staticmethod
        def rule(p: Value, g: Value, kept: Value, *, lr: Value) -> Any:
            x, kept = added(g, kept)
            return p - lr * x, kept

    for way in CPU_ENGINES:
        params = [Parameter(torch.zeros(rows, 3)) for rows in (2, 3)]
        optimizer = Keeping(params, **way)
        for _ in range(2):
            optimizer.minimize(lambda params=params: torch.stack([p.sum() for p in params]).sum())
        assert [p[:2].sum().item() for p in params] == [-18.0, -18.0]
        assert [optimizer.state[p]["kept"].tolist() for p in params] == [[[2.0] * 3] * 2] * 2


def test_a_result_like_an_argument_that_there_is_not() -> None:
    with pytest.raises(RuleError, match=r"returns 'm', which is neither 'element' nor 'own' nor one of .*\(g, v\)"):
        stacked("element", "m")(lambda g, v: (g, v))


def test_half_precision_where_the_rule_asks_for_it() -> None:
    seen: list[torch.dtype] = []

    @stacked("element")
    def noted(x: Tensor, y: Tensor) -> Tensor:
        seen.extend((x.dtype, y.dtype))
        return x

    class Half(RuleOptimizer):
        lr: float = hyper(1.0, "step size", ge=0)

        @staticmethod
        def rule(p: Value, g: Value, *, lr: Value) -> Any:
            return p - lr * noted(bfloat16(g), g)

    for way in CPU_ENGINES:
        w = Parameter(torch.zeros(2))
        optimizer = Half([w], **way)
        optimizer.minimize(lambda w=w: (w * torch.tensor([1.0, 1 + 2**-10])).sum())
        assert w.tolist() == [-1.0, -1.0]
    assert set(zip(seen[::2], seen[1::2], strict=True)) == {(torch.bfloat16, torch.float32)}


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda g: (g, g), "returns 2 values instead of 1, as stacked"),
        (lambda g: g.sum(1), r"returns a stack of shape \(1,\) instead of \(1, 3\)"),
    ],
)
def test_results_that_do_not_fit(function: Any, message: str) -> None:
    called = stacked("element")(function)

    class Wrong(RuleOptimizer):
        lr: float = hyper(0.1, "step size", ge=0)

        @staticmethod
        def rule(p: Value, g: Value, *, lr: Value) -> Any:
            return p - lr * called(g)

    w = Parameter(torch.ones(3))
    with pytest.raises(RuleError, match=message):
        Wrong([w]).minimize(w.sum)
    assert w.tolist() == [1.0, 1.0, 1.0]


def test_what_a_trace_refuses() -> None:
    trace = Trace({"lr": 0.1})
    g, lr = trace.input("g", Level.ELEMENT), trace.input("lr", Level.HOST)
    own = trace.input("Q", Level.OWN)
    called = stacked("element")(lambda g, **_: g)
    with pytest.raises(RuleError, match=r"not lr: give numbers by keyword"):
        called(g, lr)
    with pytest.raises(RuleError, match=r"not norm\(g\): give numbers by keyword"):
        called(g, norm(g))
    with pytest.raises(RuleError, match=r"scale=norm\(g\) is not a host number: give it by position"):
        called(g, scale=norm(g))
    with pytest.raises(RuleError, match=r"add: Q has a shape of its own: hand it to a function of stacks"):
        own + g
    with pytest.raises(RuleError, match=r"norm: Q has a shape of its own"):
        norm(own)


class Refused(RuleOptimizer):
    """Gives elements to a state with a shape of its own."""

    lr: float = hyper(0.1, "step size", ge=0)
    Q = state("matrix", shape=lambda shape, group: (7, 7))

    @staticmethod
    def rule(p: Value, g: Value, Q: Value, *, lr: Value) -> Any:
        del Q
        return p - lr * g, g


class Summing(Refused):
    """Sums over everything, beside a function of stacks."""

    @staticmethod
    def rule(p: Value, g: Value, Q: Value, *, lr: Value) -> Any:
        return p - lr * stacked("element")(lambda g: g)(g) / total(square(g)), Q


def test_rules_that_do_not_fit() -> None:
    w = Parameter(torch.ones(3))
    with pytest.raises(RuleError, match=r"Refused\.rule returns g for 'Q': a state with a shape of its own takes what"):
        Refused([w]).minimize(w.sum)
    with pytest.raises(RuleError, match=r"Summing\.rule: total\(\.\.\.\) does not go with functions of stacks"):
        Summing([w]).minimize(w.sum)
    assert w.tolist() == [1.0, 1.0, 1.0]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Rules are traced when tests are collected, not when this module is imported."""
    if "matrix_optimizer" in metafunc.fixturenames:
        metafunc.parametrize("matrix_optimizer", matrix_optimizers())


# torch.compile -------------------------------------------------------------------------------------------------
def test_there_are_methods_on_matrices() -> None:
    assert len(matrix_optimizers()) >= 5


def trained(name: str, steps: int = 3, **options: Any) -> list[Tensor]:
    params = [p.requires_grad_() for p in parameters()]
    torch.manual_seed(0)  # the same draws each time
    optimizer = optim_core.get(name)(params, **options)
    for t in range(steps):
        for i, p in enumerate(params):
            p.grad = torch.cos(0.7 * t + i + torch.arange(p.numel(), dtype=p.dtype)).reshape(p.shape)
        optimizer.step()
    return [p.detach() for p in params]


def test_functions_of_stacks_go_under_torch_compile(matrix_optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each traces in one piece, as it stands, and gives the same numbers."""
    hypers = optim_core.get(matrix_optimizer).hypers
    options: dict[str, Any] = {"total_steps": 3} if "total_steps" in hypers else {}
    if torch.__version__ < "2.13" and "ns_dtype" in hypers:  # compiled products round to bfloat16 once more there
        options["ns_dtype"] = "float64"
    wanted = trained(matrix_optimizer, **options)
    compiled: list[str] = []
    real_call = Trace.call

    def call(self: Trace, function: Any, *rest: Any) -> Any:
        compiled.append(function.__name__)
        return real_call(self, torch.compile(function, backend="aot_eager", fullgraph=True), *rest)

    monkeypatch.setattr(Trace, "call", call)
    with torch._dynamo.config.patch(recompile_limit=64):  # a shape, or a number that is new, is compiled for anew
        ends = trained(matrix_optimizer, **options)
    for x, y in zip(ends, wanted, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-9)
    assert compiled


@pytest.mark.filterwarnings("ignore:Dynamo does not know how to trace")  # random draws: it leaves them out
def test_a_compiled_step_gives_the_same(matrix_optimizer: str) -> None:
    ends = []
    for compiles in (False, True):
        params = [p.requires_grad_() for p in parameters()]
        torch.manual_seed(0)  # the same draws each time
        optimizer = optim_core.get(matrix_optimizer)(params)
        step = torch.compile(optimizer.step, backend="eager") if compiles else optimizer.step
        for t in range(3):
            for i, p in enumerate(params):
                p.grad = torch.cos(0.7 * t + i + torch.arange(p.numel(), dtype=p.dtype)).reshape(p.shape)
            step()
        ends.append([p.detach() for p in params])
    for x, y in zip(*ends, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-9)
