"""Amos."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor

from optim_core import RuleOptimizer, hyper, state
from optim_core.rules import Value, clamp, lerp, maximum, mean, size, sqrt, square


class Amos(RuleOptimizer):
    """Adam without momentum whose step size and weight decay shrink by themselves, towards weights of a known scale.

    eta is the expected magnitude of a tensor's entries once trained; M averages the squares over what shares a slot
    (``reduce``): nothing, all but the first axis ("rows"), or the tensor ("all"); v and b are as small as that leaves::

        v = beta v + (1 - beta) M(g^2),   r = (1 - beta^t) / max(v, eps)
        y = lr^2 r M(g^2) / sqrt(1 + c_coef sqrt(lr) b)
        d = 1 / (1 + d_coef sqrt(lr eta) b)
        u = d ((y/2 + extra_l2) p + lr eta sqrt(r) g)
        b = b + y (1 + b)
        p = p - u                                         with momentum its average, which starts at 0, not corrected

    b takes the place of a schedule: do not add a decaying one (warm-up is fine). Take lr about 1/sqrt(batches in the
    data set), for which the authors have no default either. lr = 0 stands still but for extra_l2 and momentum.

    eta depends on a layer's role, which a tensor does not show. The authors take 1 for the gains of norms, 0.5 for
    biases, sqrt(2/hidden) for embeddings, sqrt(1/fan_in) for linear maps (sqrt(2/fan_in) after a ReLU), and have no
    default. With eta=None it is 0.5 below two dimensions, else sqrt(1/fan_in), where fan_in is the size of a row;
    better give it, in groups or by :meth:`from_names`. They average squares over the inputs of a kernel ("rows" in
    torch's layout), over an embedding's features ("rows") and elsewhere over the tensor ("all").

    A port's extra_l2 has the wrong sign and half the size; it always has one slot a tensor, and its eta leaves out a
    convolution's kernel area.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = Amos([w], lr=0.1, eta=1.0).minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]
        [0.895, -1.89]

    Source: Tian and Parikh, Amos: An Adam-style Optimizer with Adaptive Weight Decay towards Model-Oriented Scale,
    2022, https://arxiv.org/abs/2210.11693; clipping, momentum and extra_l2 as in the authors' code.
    """

    lr: float = hyper(1e-3, "step size, a share of eta", ge=0, search=(1e-3, 1e-1))
    eta: float | None = hyper(None, "expected magnitude of the entries, None for a guess from the shape", gt=0)
    reduce: str = hyper("none", "what shares one v and one b", choices=("none", "rows", "all"))
    beta: float = hyper(0.999, "decay of the average of squares", ge=0, lt=1)
    momentum: float = hyper(0.0, "decay of an average of the updates, 0 for none", ge=0, lt=1)
    clip_value: float | None = hyper(None, "largest magnitude of a gradient's entry, None for any", gt=0)
    extra_l2: float = hyper(0.0, "more decay of p, without lr", ge=0)
    c_coef: float = hyper(0.25, "how fast the decay of p shrinks", ge=0)
    d_coef: float = hyper(0.25, "how fast the updates shrink", ge=0)
    eps: float = hyper(2.0**-125, "least v", gt=0)

    v = state("average of squares", level=lambda group: _LEVELS[group["reduce"]])
    b = state("progress, by which steps shrink", level=lambda group: _LEVELS[group["reduce"]])
    exp_avg = state("average of the updates", when="momentum")

    @classmethod
    def from_names(
        cls,
        named_params: Iterable[tuple[str, Tensor]],
        choose: Callable[[str, tuple[int, ...]], dict[str, Any]],
        **options: Any,
    ) -> Amos:
        """Build it with options for each parameter: ``choose(name, shape)`` returns its eta, and its reduce if wanted.

        Example:
            >>> import torch
            >>> layer = torch.nn.Linear(4, 2)
            >>> def choose(name, shape):
            ...     return {"eta": 0.5} if name == "bias" else {"eta": shape[1] ** -0.5, "reduce": "rows"}
            >>> optimizer = Amos.from_names(layer.named_parameters(), choose, lr=1e-2)
            >>> [(group["param_names"], group["eta"], group["reduce"]) for group in optimizer.param_groups]
            [(['weight'], 0.5, 'rows'), (['bias'], 0.5, 'none')]
        """
        return cls([{"params": [(name, p)], **choose(name, tuple(p.shape))} for name, p in named_params], **options)

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        v: Value,
        b: Value,
        exp_avg: Value,
        *,
        lr: Value,
        eta: Value | None,
        reduce: str,
        beta: Value,
        momentum: Value,
        clip_value: Value | None,
        extra_l2: Value,
        c_coef: Value,
        d_coef: Value,
        eps: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        scale = eta if eta is not None else 0.5 if p.ndim < 2 else 1 / sqrt(size(p, over="row"))
        if clip_value is not None:
            g = clamp(g, -clip_value, clip_value)
        g2 = square(g)
        g2 = mean(g2, over="row") if reduce == "rows" else mean(g2) if reduce == "all" else g2
        v = lerp(g2, v, beta)
        r = (1 - beta**step) / maximum(v, eps)
        y = square(lr) * r * g2 / sqrt(1 + c_coef * sqrt(lr) * b)
        d = 1 / (1 + d_coef * sqrt(lr * scale) * b)
        u = d * ((y / 2 + extra_l2) * p + lr * scale * sqrt(r) * g)
        if momentum:
            u = exp_avg = lerp(u, exp_avg, momentum)
        return p - u, v, b + y * (1 + b), exp_avg


_LEVELS: dict[str, str] = {"none": "element", "rows": "row", "all": "tensor"}
