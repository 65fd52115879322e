"""Parameters that FSDP1 has flattened."""

from __future__ import annotations

import pytest
from support import small

import optim_core
from optim_core.errors import UnsupportedParameter


@pytest.mark.parametrize("name", ["adamw", "lion", "sgd", "muon", "prodigy", "lamb", "adafactor"])
def test_flat_parameters_go_with_elementwise_methods_only(name: str) -> None:
    params = small.parameters((12,))
    params[0]._fsdp_flattened = True  # type: ignore[attr-defined]
    if name in ("adamw", "lion", "sgd"):
        optim_core.get(name)(params)
        return
    with pytest.raises(UnsupportedParameter, match=r"FSDP1.*flat pieces: shard with FSDP2"):
        optim_core.get(name)(params)
