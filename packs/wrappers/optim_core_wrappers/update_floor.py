"""Update floor."""

from __future__ import annotations

from typing import ClassVar

from optim_core.methods import hyper
from optim_core.rules import Inner, Over, Value, maximum, norm, where
from optim_core.wrapping import RuleWrapper


class UpdateFloor(RuleWrapper):
    """Keeps the update of each weight matrix, or row, above a share of the weights.

    With u the base's step divided by -lr::

        u = u max(1, floor max(|w|, eps) / max(|u|, eps))        norms over the tensor, or over each row

    Larger updates pass. It is meant for bases whose update has a fixed size, such as Muon, where it stands in for
    weight decay: as weights grow their updates grow with them. An Adam's updates are larger than the default floor by
    themselves. Rows are indices of dimension 0, the output units of torch's layers. With lr = 0 nothing is done.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([[3.0, 4.0]]))
        >>> optimizer = UpdateFloor(torch.optim.SGD([weight], lr=0.1), floor=0.4)
        >>> _ = optimizer.minimize(lambda: (weight * torch.tensor([[0.6, 0.8]])).sum())
        >>> [round(x, 3) for x in weight[0].tolist()]  # lr times an update of norm 0.4 * 5, instead of 1
        [2.88, 3.84]

    Source: records 9 and 46 of track 3 of modded-nanogpt; there is no paper.
    """

    of_base: ClassVar[tuple[str, ...]] = ("lr",)

    floor: float = hyper(0.3825, "least ratio of the norms of update and weights", ge=0, examples=[10.0])
    per: str = hyper("tensor", "what norms are over", choices=("tensor", "row"))
    min_dims: int = hyper(2, "tensors of fewer dimensions take the base's plain step", ge=0)
    eps: float = hyper(1e-8, "lower bound of norms", gt=0)

    @staticmethod
    def rule(
        p: Value, g: Value, inner: Inner, *, lr: Value, floor: float, per: Over, min_dims: int, eps: float
    ) -> Value:
        """The update above."""
        moved = inner(p, g)
        if p.ndim < min_dims or not lr:
            return moved.p
        d = moved.since(p)
        size = maximum(norm(d, over=per) / lr, eps)
        least = floor * maximum(norm(p, over=per), eps)
        return p + d * where(size < least, least / size, 1.0)
