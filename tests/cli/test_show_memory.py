"""The memory that ``optim-core show`` announces is what a method takes."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from support.methods import optimizers
from torch import Tensor

import optim_core
from optim_core.catalog.specs import OptimizerSpec
from optim_core.cli.app import app
from optim_core.methods import tensors_of
from optim_core.testing.small import closure, positive, tensors

pytestmark = pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")


def held(optimizer: Any, p: Tensor, spec: OptimizerSpec) -> dict[str, list[Tensor]]:
    """The tensors of each state that a parameter shares or has, by the names in the spec."""
    whole = optimizer.whole if optimizer.method.whole_states else {}
    own = optimizer.state[p]
    return {name: tensors(whole[name] if name in whole else tensors_of(own, name)) for name in spec.state}


@pytest.mark.parametrize("spec", optimizers(), ids=lambda spec: spec.name)
def test_show_tells_the_memory(spec: OptimizerSpec) -> None:
    cls: Any = optim_core.get(spec.name)
    words = ["show", spec.name, "--json", "--parameters", "205", "--shape", "8x8"]
    shown = json.loads(CliRunner().invoke(app, words, catch_exceptions=False).stdout)
    params = [positive(shape, i, torch.float32) for i, shape in enumerate(shown["state_of"])]
    assert sum(p.numel() for p in params) == 205
    optimizer = cls([(f"{i}.{'weight' if p.ndim > 1 else 'bias'}", p) for i, p in enumerate(params)])
    optimizer.minimize(closure(params))
    kept: dict[str, dict[int, int]] = {name: {} for name in spec.state}
    for p in params:
        for name, found in held(optimizer, p, spec).items():
            kept[name] |= {t.data_ptr(): t.nbytes for t in found}  # one of the whole model counts once
    assert shown["state_bytes"] == {name: sum(sizes.values()) for name, sizes in kept.items()}
