"""Methods that are torch's own do what torch's classes do: the same defaults, the same numbers.

Which these are follows from the specs: those that name torch as the authors' code.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest
import torch
from support.methods import of_torch
from support.small import copies
from support.sparse import form_of_gradients
from torch import Tensor

import optim_core
from optim_core.errors import InvalidOption
from optim_core.optimizers.needs import needs_of
from optim_core.testing.problems import PROBLEMS

SPECS = of_torch()
STEPS = 30


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    """torch keeps single numbers (NAdam's product) in the default type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def shared(name: str) -> dict[str, tuple[Any, Any]]:
    """The defaults of the options that both classes have, ours first."""
    ours = optim_core.get(name).hypers
    theirs = inspect.signature(optim_core.get(f"torch:{name}")).parameters
    return {option: (ours[option].default, theirs[option].default) for option in theirs if option in ours}


def other(value: Any) -> Any:
    """A value of an option that is not its default."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value - 1
    return tuple(map(other, value)) if isinstance(value, tuple) else 0.9 * value or 0.1


def variants(name: str) -> list[Any]:
    """The defaults; other values for one option, for each two, and for all numbers."""
    changed = {option: other(ours) for option, (ours, _) in shared(name).items() if ours is not None}
    numbers = [option for option, value in changed.items() if not isinstance(value, bool)]
    chosen = {*itertools.combinations(changed, 0), *itertools.combinations(changed, 1)}
    chosen |= {*itertools.combinations(changed, 2), tuple(numbers)}
    return [
        pytest.param(name, {option: changed[option] for option in options}, id="-".join((name, *options)))
        for options in sorted(chosen)
    ]


def trajectory(cls: Any, options: Mapping[str, Any]) -> list[Tensor]:
    params = PROBLEMS["net"].parameters()
    optimizer, form = cls(params, **options), form_of_gradients(cls)
    for p in params:
        p.register_post_accumulate_grad_hook(lambda p: setattr(p, "grad", form(cast("Tensor", p.grad))))
    found = []
    for batch in range(1 if "closure" in needs_of(optimizer) else STEPS):  # many evaluations magnify rounding
        optim_core.minimize(optimizer, lambda batch=batch: PROBLEMS["net"].loss(params, batch))
        found += copies(params)
    return found


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_has_torch_s_defaults(spec: Any) -> None:
    for option, (ours, theirs) in shared(spec.name).items():
        assert ours == theirs, option


@pytest.mark.parametrize(("name", "options"), [variant for spec in SPECS for variant in variants(spec.name)])
def test_does_what_torch_does(name: str, options: Mapping[str, Any]) -> None:
    try:
        theirs = trajectory(optim_core.get(f"torch:{name}"), options)
    except ValueError:  # torch refuses them together
        with pytest.raises(InvalidOption):
            trajectory(optim_core.get(name), options)
        return
    ours = trajectory(optim_core.get(name), options)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
