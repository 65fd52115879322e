"""For wrappers that go by the gradients with which the base is about to step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from optim_core.errors import WrapperConflict
from optim_core.methods import compute_dtype, full_tensor, real
from optim_core.wrapping import Wrapper


def refuse_accumulation(wrapper: Wrapper) -> None:
    """Refuse what takes gradients in, and steps with others.

    Raises:
        WrapperConflict: something inside steps once for several calls.
    """
    name = wrapper.method.name
    for other in wrapper.inside:
        if other.accumulates:
            raise WrapperConflict(
                f"{name} goes by the gradients that its base steps with, but {other.method.name} "
                f"inside steps once for several calls: put {other.method.name} around {name}"
            )


def norm_of(tensors: Sequence[Tensor]) -> float:
    """The norm of all of them together, over all ranks if they are sharded; the host waits for it."""
    parts = [real(x.detach()) for x in tensors if x.numel()]
    norms = [full_tensor(torch.linalg.vector_norm(x, dtype=compute_dtype(x))) for x in parts]
    return (
        float(torch.linalg.vector_norm(torch.stack([x.to(norms[0].device).double() for x in norms]))) if norms else 0.0
    )
