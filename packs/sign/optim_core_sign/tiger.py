"""Tiger."""

from __future__ import annotations

from typing import Any

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, amax, mean, sign, sqrt, square, where

_WEIGHT, _EMBEDDING, _BIAS, _GAIN = range(4)


class Tiger(RuleOptimizer):
    """Sign of the average gradient, scaled to the size of the weights; gradients may accumulate in the average itself.

    With k = grad_accum_steps, and r what the parameter's name decides::

        m = beta m + (1 - beta)/k g          beta only in the first of k steps, 1 in the others
        p = p - lr r (sign(m) + weight_decay p)                   in the last of k steps

        last word with bias, beta or gamma   r = 1/2, no decay
        name with embeddings                 r = the root mean square of each row of p
        others, and without names            r = that of p as a whole

    So lr is relative, and **a tensor of zeros never moves**, unless its name says that it is a bias: give the names,
    ``Tiger(model.named_parameters())``. For parameters that the names miss, such as heads that start at zero, make a
    group with rms_scale=False and half the lr: r = 1 then. rms_scale=False for all is the simplified method of
    pytorch-optimizer. The weights of torch's normalisation layers are called weight and count among the others.

    A gradient with a NaN is left out, with rms_scale, and the tensor shrinks towards c instead:
    p = c + shrink_ratio (p - c), c = 1 for gamma, else 0. Infinities are not caught. With grad_accum_steps, do not
    average the gradients as well. sign(0) = 0; under zero gradients p goes on moving until m underflows.

    Rows are indices of dimension 0 (the authors' code takes the mean over the last dimension: the same for the matrix
    of an embedding). The authors look for bias, beta and gamma anywhere in the name.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(2, 1)
        >>> _ = torch.nn.init.constant_(layer.weight, 4.0), torch.nn.init.zeros_(layer.bias)
        >>> optimizer = Tiger(layer.named_parameters(), lr=0.5, weight_decay=0.0)
        >>> loss = optimizer.minimize(lambda: layer(torch.ones(1, 2)).sum())
        >>> layer.weight.tolist(), layer.bias.tolist()
        ([[2.0, 2.0]], [-0.25])

    Source: Su, Tiger: A Tight-fisted Optimizer, 2023, https://github.com/bojone/tiger.
    """

    lr: float = hyper(1e-3, "step size, a share of the root mean square of the weights", ge=0, search=(1e-4, 1e-2))
    beta: float = hyper(0.965, "decay of the average of g", ge=0, lt=1)
    weight_decay: float = hyper(0.01, "decoupled decay, times the step size", ge=0)
    grad_accum_steps: int = hyper(1, "steps whose gradients make one", ge=1, common=True)
    shrink_ratio: float = hyper(0.99, "factor on the weights for a gradient with a NaN", ge=0, le=1)
    rms_scale: bool = hyper(True, "False: no scaling, nothing by name, NaN not caught")

    needs = frozenset({"named_params"})

    m = state("average of g")
    role = state("what the name makes of it: 1 embedding, 2 bias, 3 gamma, else 0", level="tensor", when="rms_scale")

    def on_group(self, group: dict[str, Any]) -> None:
        """Read the names."""
        if group["rms_scale"] and "param_names" in group:
            for p, name in zip(group["params"], group["param_names"], strict=True):
                self.set_state(p, role=_role(name))

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        m: Value,
        role: Value | None,
        *,
        lr: Value,
        beta: Value,
        weight_decay: Value,
        grad_accum_steps: Value,
        shrink_ratio: Value,
        whole_step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        k = grad_accum_steps
        first, last = not (whole_step - 1) % k, not whole_step % k
        if role is None:
            m = (beta * m if first else m) + (1 - beta) / k * g
            return (p - lr * (sign(m) + weight_decay * p) if last else p), m, role
        nan = amax(where(abs(g) >= 0, 0.0, 1.0)) > 0
        m = where(nan, m, (beta * m if first else m) + (1 - beta) / k * g)
        r = sqrt(mean(square(p)))
        if p.ndim > 1:
            r = where(role == _EMBEDDING, sqrt(mean(square(p), over="row")), r)
        r = where(role < _BIAS, r, 0.5)
        decay = where(role < _BIAS, weight_decay, 0.0)
        centre = where(role == _GAIN, 1.0, 0.0)
        new_p = p - lr * r * (sign(m) + decay * p) if last else p
        return (where(nan, centre + shrink_ratio * (p - centre), new_p) if lr else p), m, role


def _role(name: str) -> int:
    word = name.rpartition(".")[2]
    if "gamma" in word:
        return _GAIN
    if "bias" in word or "beta" in word:
        return _BIAS
    return _EMBEDDING if "embeddings" in name else _WEIGHT
