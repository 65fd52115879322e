"""RotoGrad."""

from __future__ import annotations

from torch import Tensor

from optim_core_multitask.rotate_only import RotateOnly
from optim_core_multitask.task_gradients import TINY, norms, weighted


class RotoGrad(RotateOnly):
    r"""RotateOnly, with the gradients of all tasks brought to one norm, so that none drowns the others.

    .. math:: \text{the backbone gets } N \sum_i h_i / \lVert h_i \rVert, \quad
        N = \sum_i \alpha_i \lVert h_i \rVert, \quad \alpha_i \propto \lVert h_i \rVert / \lVert h_{i0} \rVert

    h_i0 is the first one, measured again at the end of the burn-in. A task whose gradient vanishes is brought to
    norm N as the others are. Everything else is as in :class:`RotateOnly`.

    Example:
        >>> import torch
        >>> from optim_core_multitask.rotations import Rotations
        >>> rotations = Rotations(tasks=2, size=1)
        >>> w = torch.nn.Parameter(torch.tensor([[1.0]]))
        >>> optimizer = RotoGrad(torch.optim.SGD([w], lr=0.5), rotations=rotations)
        >>> def closure():
        ...     a, b = rotations(w)
        ...     return [a.sum(), 3 * b.sum()]
        >>> [loss.item() for loss in optimizer.minimize(closure)]
        [1.0, 3.0]
        >>> w.item()  # two gradients of norm 2, the mean of 1 and 3
        -1.0

    Source: Javaloy and Valera, RotoGrad: Gradient Homogenization in Multitask Learning, 2021,
    https://arxiv.org/abs/2103.02631, Algorithm 1.
    """

    initials = ("loss", "norm")

    def shared(self, gradients: Tensor, progress: Tensor) -> Tensor:
        """The sum of gradients of one norm."""
        del progress
        sizes = norms(gradients, self).clamp(min=TINY)
        ratios = sizes / self.initial("norm", sizes)
        common = (ratios / ratios.sum() * sizes).sum()
        return weighted(common / sizes, gradients)
