"""Formulas: expressions over all parameters, whichever engine runs them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from optim_core.errors import EngineUnavailable, RuleError
from optim_core.methods.formula import Formula, ParameterSet
from optim_core.rules import Value, sqrt, square, total


def shift(p: Value, g: Value, kept: Value, *, rho: Value, twice: bool) -> dict[str, Value]:
    step = rho / sqrt(total(square(g))) * g
    return {"p": p + (step + step if twice else step), "kept": p}


def share(*sizes: int, dtype: torch.dtype = torch.float64, rho: float = 0.5, twice: bool = False) -> ParameterSet:
    p = [torch.sin(torch.arange(n, dtype=torch.float64)).to(dtype) for n in sizes]
    columns = {"p": p, "g": [torch.cos(3 * x) for x in p], "kept": [torch.empty_like(x) for x in p]}
    return ParameterSet({"rho": rho, "twice": twice}, columns)


def expected(shares: list[ParameterSet]) -> list[Tensor]:
    norm = torch.cat([g.double() for s in shares for g in s.columns["g"]]).norm()
    factors = [s.options["rho"] * (1 + s.options["twice"]) / norm for s in shares]
    return [
        (p.double() + factor * g.double()).to(p.dtype)
        for s, factor in zip(shares, factors, strict=True)
        for p, g in zip(s.columns["p"], s.columns["g"], strict=True)
    ]


@pytest.mark.parametrize("settings", [{}, {"engine": "native"}, {"foreach": True}, {"foreach": False}])
@pytest.mark.parametrize("sizes", [(3, 0, 5), (9000, 70000)])
def test_shares_are_summed_together(settings: dict[str, object], sizes: tuple[int, ...]) -> None:
    formula = Formula(shift)
    for rho in (0.5, 0.25):  # the second time with what the first has left assembled
        shares = [share(*sizes, rho=rho), share(4, twice=True), share(6, dtype=torch.float32)]
        before = [p.clone() for s in shares for p in s.columns["p"]]
        wanted = expected(shares)
        formula(shares, **settings)  # type: ignore[arg-type]
        after = [p for s in shares for p in s.columns["p"]]
        torch.testing.assert_close(after, wanted)
        assert all(
            torch.equal(a, b) for a, b in zip(before, (k for s in shares for k in s.columns["kept"]), strict=True)
        )


def test_what_was_assembled_serves_again_until_something_differs() -> None:
    formula = Formula(shift)
    first = share(3, 4)
    formula([first])
    assembled = formula._assembled
    gradients = [g.clone() for g in first.columns["g"]]
    for changed, same in (
        (ParameterSet({"rho": 0.1, "twice": False}, {**first.columns, "g": gradients}), True),
        (ParameterSet({"rho": 0.1, "twice": True}, first.columns), False),
        (share(3, 4), False),
        (share(3, 4, dtype=torch.float32), False),
    ):
        wanted = expected([changed])
        formula([changed])
        assert (formula._assembled is assembled) == same
        torch.testing.assert_close(list(changed.columns["p"]), wanted)
        assembled = formula._assembled


def test_complex_parameters_are_pairs_of_real_ones() -> None:
    z = torch.tensor([3.0 + 4.0j])
    Formula(lambda p: {"p": p / sqrt(total(square(p)))})([ParameterSet({}, {"p": [z]})])
    torch.testing.assert_close(z, torch.tensor([0.6 + 0.8j]))


def test_parameters_that_require_gradients() -> None:
    w = torch.nn.Parameter(torch.ones(5000))
    Formula(lambda p: {"p": p + 1})([ParameterSet({}, {"p": [w]})])
    assert w.min() == w.max() == 2


def test_what_does_not_fit() -> None:
    with pytest.raises(RuleError, match="returns 'q', which it does not take"):
        Formula(lambda p: {"q": p})([share(3)])
    strided = ParameterSet({"rho": 1.0, "twice": False}, {name: [x[0][::2]] for name, x in share(8).columns.items()})
    with pytest.raises(EngineUnavailable, match="engine='native'"):
        Formula(shift)([strided], engine="native")
    wanted = expected([strided])
    Formula(shift)([strided])
    torch.testing.assert_close(list(strided.columns["p"]), wanted)
