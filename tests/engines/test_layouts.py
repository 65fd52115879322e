"""Every method and wrapper on tensors that lie in memory in every way: the engines agree, for what they take.

Which methods and wrappers there are comes from the registry, which options from declarations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from support.methods import matrix_optimizers, open_ended
from support.small import assert_close, closure, loss
from support.wrappers import around, base_only_specs, option_variants
from torch import Tensor
from torch.nn import Parameter

import optim_core
from optim_core.catalog.specs import Spec
from optim_core.engines import choice
from optim_core.errors import InvalidOption, NotOffered, WrapperConflict

pytestmark = [
    pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),  # wrappers by hand: a scheduler, an evaluation
]

SHAPES = [(6, 5), (5,), (4, 3, 2, 3), (1, 4), (4, 1)]
STEPS = 3


def reversed_(x: Tensor) -> Tensor:
    """Column by column, as the transpose of a matrix lies."""
    order = tuple(reversed(range(x.ndim)))
    return x.permute(order).contiguous().permute(order)


def inner_reversed(x: Tensor) -> Tensor:
    """Each row in one piece, and in it the last dimension first: channels last, for one."""
    order = (0, *reversed(range(1, x.ndim)))
    return x.permute(order).contiguous().permute(order)


def gapped(x: Tensor) -> Tensor:
    """Every second element of a wider tensor."""
    return torch.stack([x, torch.full_like(x, torch.nan)], -1)[..., 0]


def expanded(x: Tensor) -> Tensor:
    """Its first row, in all rows."""
    return x[:1].expand_as(x)


#: Each keeps values, but for the last, which no parameter can be.
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": Tensor.contiguous,
    "reversed": reversed_,
    "inner reversed": inner_reversed,
    "gapped": gapped,
}
OF_GRADIENTS = {**LAYOUTS, "expanded": expanded}

drawn_layouts = given(
    st.data(),
    st.sampled_from(list(LAYOUTS)),
    st.lists(st.sampled_from(list(OF_GRADIENTS)), min_size=STEPS, max_size=STEPS),
)
few = settings(max_examples=2, deadline=None, derandomize=True, database=None)


def start(of_params: str) -> list[Parameter]:
    """Parameters whose elements are all different, and none of them near zero."""
    generator = torch.Generator().manual_seed(0)
    values = [torch.rand(shape, generator=generator, dtype=torch.float64) + 0.3 for shape in SHAPES]
    return [Parameter(LAYOUTS[of_params](x)) for x in values]


def losses(params: list[Parameter], t: int) -> Callable[[], list[Tensor]]:
    """What ``minimize`` takes where a method wants a list of losses."""
    return lambda: [loss(params, t), loss(params, t + 1)]


def trained(make: Callable[[Any], Any], of_params: str, of_gradients: list[str], *, several: bool) -> list[Parameter]:
    """After steps on gradients that lie as told; the loss is ``several`` where the method takes a list of them."""
    params = start(of_params)
    now = ["contiguous"]
    for p in params:
        p.register_post_accumulate_grad_hook(lambda p: setattr(p, "grad", OF_GRADIENTS[now[0]](p.grad)))
    torch.manual_seed(0)
    try:
        optimizer = make([(f"{i}.weight", p) for i, p in enumerate(params)])
    except (InvalidOption, NotOffered, WrapperConflict):  # what was drawn does not go together
        reject()
    for t, now[0] in enumerate(of_gradients):
        optim_core.minimize(optimizer, losses(params, t) if several else closure(params, t))
    return params


def assert_engines_agree(
    make: Callable[[Any, str], Any],
    of_params: str,
    of_gradients: list[str],
    *,
    several: bool = False,
    tolerance: float = 1e-10,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choice, "TINY", 0)  # the native engine takes whatever it can
        found = trained(lambda params: make(params, "auto"), of_params, of_gradients, several=several)
    plainly = ["expanded" if way == "expanded" else "contiguous" for way in of_gradients]
    for how in ((of_params, of_gradients), ("contiguous", plainly)):
        assert_close(found, trained(lambda params: make(params, "eager"), *how, several=several), tolerance)


@pytest.mark.parametrize("name", open_ended())
@few
@drawn_layouts
def test_methods(name: str, data: st.DataObject, of_params: str, of_gradients: list[str]) -> None:
    cls: Any = optim_core.get(name)
    options = data.draw(st.sampled_from(list(option_variants(cls))))
    # roots of matrices without full rank, which a few rounding errors change
    tolerance = 1e-6 if name in matrix_optimizers() else 1e-10
    assert_engines_agree(
        lambda params, engine: cls(params, **options, engine=engine), of_params, of_gradients, tolerance=tolerance
    )


@pytest.mark.parametrize("spec", base_only_specs(), ids=lambda spec: spec.name)
@few
@drawn_layouts
def test_wrappers(spec: Spec, data: st.DataObject, of_params: str, of_gradients: list[str]) -> None:
    options = data.draw(st.sampled_from(list(option_variants(optim_core.get_wrapper(spec.name)))))
    assert_engines_agree(
        lambda params, engine: around(optim_core.get("adamw")(params, engine=engine), spec.name, **options),
        of_params,
        of_gradients,
        several="multi_loss" in spec.needs,
    )


def test_draws_go_by_the_order_of_elements() -> None:
    found = []
    for way in ("contiguous", "reversed"):
        params = [Parameter(LAYOUTS[way](torch.full((40, 30), 1.0, dtype=torch.bfloat16)))]
        torch.manual_seed(0)
        optimizer = optim_core.get("sgd")(params, lr=1e-3, rounding="stochastic")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(choice, "TINY", 0)
            params[0].grad = LAYOUTS[way](torch.ones_like(params[0]))
            optimizer.step()
        found += params
    assert torch.equal(*found)
    assert len(found[0].unique()) == 2
