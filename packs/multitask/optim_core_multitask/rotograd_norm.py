"""RotoGradNorm."""

from __future__ import annotations

import typing

import torch
from torch import Tensor

from optim_core.errors import InvalidOption
from optim_core.methods import hyper
from optim_core_multitask.rotate_only import RotateOnly
from optim_core_multitask.task_gradients import TINY, norms, weighted


class RotoGradNorm(RotateOnly):
    r"""RotateOnly, with weights for the tasks that are learnt as in GradNorm: those that lag behind get more.

    .. math:: \text{the backbone gets } \sum_i w_i h_i, \quad w_i = K \operatorname{softmax}(u)_i, \quad
        u \text{ descends on } \sum_i \Bigl\lvert w_i \lVert h_i \rVert -
        \bigl\lVert \tfrac1K \textstyle\sum_j w_j h_j \bigr\rVert\, r_i^\alpha \Bigr\rvert

    r_i is the task's loss relative to its initial one, over the mean of these; what is subtracted is held constant. u
    belongs to the rotations: ``Rotations(..., weighted=True)``, and is trained with them. Everything else is as in
    :class:`RotateOnly`.

    Example:
        >>> import torch
        >>> from optim_core_multitask.rotations import Rotations
        >>> rotations = Rotations(tasks=2, size=1, weighted=True)
        >>> w = torch.nn.Parameter(torch.tensor([[1.0]]))
        >>> optimizer = RotoGradNorm(torch.optim.SGD([w], lr=0.5), rotations=rotations, alpha=1.0)
        >>> def closure():
        ...     a, b = rotations(w)
        ...     return [a.sum(), 3 * b.sum()]
        >>> _ = optimizer.minimize(closure)
        >>> w.item()
        -1.0

    Source: Javaloy and Valera, RotoGrad: Gradient Homogenization in Multitask Learning, 2021,
    https://arxiv.org/abs/2103.02631; Chen et al., GradNorm: Gradient Normalization for Adaptive Loss Balancing in Deep
    Multitask Networks, 2017, https://arxiv.org/abs/1711.02257, Algorithm 1.
    """

    alpha: float | None = hyper(None, "how much more those get that lag behind; required", ge=0, search=(0.1, 2.0))

    def on_wrap(self) -> None:
        """Look for alpha and the weights.

        Raises:
            InvalidOption: one of them is missing.
        """
        if self.options["alpha"] is None:
            raise InvalidOption("RotoGradNorm needs alpha: 0 for equal norms, 1.5 where tasks are very different")
        if getattr(self.rotations, "task_weights", None) is None:
            raise InvalidOption("RotoGradNorm learns a weight for each task: build Rotations(..., weighted=True)")
        super().on_wrap()

    def shared(self, gradients: Tensor, progress: Tensor) -> Tensor:
        """The weighted sum."""
        u = typing.cast("Tensor", self.rotations.task_weights)  # on_wrap() has seen to it
        with torch.enable_grad():
            shares = u.exp() + TINY
            weights = len(u) * shares / shares.sum()
            fixed = weights.detach()
            (mean,) = norms(weighted(fixed, gradients).unsqueeze(0), self) / len(u)
            wanted = mean * (progress / progress.mean()) ** self.options["alpha"]
            distance = (norms(gradients, self) * weights - wanted).abs().sum()
            (u.grad,) = torch.autograd.grad(distance, u)
        return weighted(fixed, gradients)
