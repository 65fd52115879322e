"""SGD with gradient noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from optim_core import RuleOptimizer, extra, hyper
from optim_core.rules import Value


class NoisySGD(RuleOptimizer):
    """Gradient descent with noise on the gradient that fades away: for deep plain nets with poor first weights.

    With z normal noise, new in each step, and t = 1, 2, ...::

        p = p - lr (g + sqrt(eta / t^gamma) z)

    **eta is a variance**; the paper writes eta / (1 + t)^gamma for t = 0, 1, ... Elements without gradient move as
    well. Clip before the noise is added (``wrappers=["clip"]`` does). The draws are the optimizer's own, follow from
    ``torch.manual_seed``, go on with a checkpoint, and are the same on all ranks.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = NoisySGD([w], lr=0.25, eta=0.0).minimize(lambda: w.square().sum())
        >>> w.tolist()
        [0.5, -1.0]

    Source: Neelakantan, Vilnis, Le, Sutskever, Kaiser, Kurach and Martens, Adding Gradient Noise Improves Learning for
    Very Deep Networks, 2015, equation 1, https://arxiv.org/abs/1511.06807.
    """

    lr: float = hyper(1e-2, "step size", ge=0, search=(1e-3, 1.0))
    eta: float = hyper(0.01, "variance of the noise in the first step", ge=0)
    gamma: float = hyper(0.55, "how fast the variance falls", ge=0)

    noise = extra("z; None if no group has noise")

    random = True

    def extras(self, params: Sequence[Tensor]) -> Mapping[str, Sequence[Tensor]]:
        """The noise of this step."""
        if not any(group["eta"] for group in self.param_groups):
            return {}
        return {"noise": [self.draw(p) for p in params]}

    @staticmethod
    def rule(p: Value, g: Value, noise: Value | None, *, lr: Value, eta: Value, gamma: Value, step: Value) -> Value:
        """The update above."""
        u = g if noise is None else g + (eta / step**gamma) ** 0.5 * noise
        return p - lr * u
