"""SRMM."""

from __future__ import annotations

from typing import Any

from optim_core import RuleOptimizer, hyper, state
from optim_core.errors import InvalidOption
from optim_core.rules import Value, lerp


class SRMM(RuleOptimizer):
    """Stochastic regularized majorization-minimization: the minimum of an average of parabolas, kept near p.

    Each gradient gives a parabola of curvature ilr at p; their average, plus pr times the squared distance from p, is
    minimised. With w = (t mod memory_length + 1)^-beta, where memory_length = None keeps the whole of t::

        G = (1 - w) G + w g                          average of the gradients
        T = (1 - w) T + w p                          average of the parameters
        p = ilr/(ilr + pr) T + pr/(ilr + pr) p - G/(ilr + pr)
          = p + lr (ilr (T - p) - G)                 lr = 1/(ilr + pr)

    lr, an unused argument in the authors' class, is the step size of the last line, and stands for pr = 1/lr - ilr:
    give one of the two, and let schedulers change lr. The authors' class defaults, ilr=1e-3 and pr=0, are steps of
    1000. Here pr is 0 only if ilr is given; with neither it is 10, as in the authors' runs, so that lr is about 0.1.

    The authors' code starts T at zero, the default here, which for a large ilr/(ilr + pr) pulls weights towards zero:
    init_average="param", the paper's equation, is the better choice then. It never restarts its average, because of the
    precedence of an operator; here memory_length does what it is documented to do. pytorch-optimizer's SRMM writes the
    step into T, and has neither pr nor the average of parameters in effect.

    Raises:
        InvalidOption: lr and pr contradict each other.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> loss = SRMM([w], ilr=5.0, pr=5.0, beta=1.0, init_average="param").minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()]  # w = 1/2, G = p
        [0.9, -1.8]

    Source: Lyu, Stochastic regularized majorization-minimization with weakly convex and multi-convex surrogates, 2022,
    equation 23, https://arxiv.org/abs/2201.01652.
    """

    lr: float | None = hyper(None, "step size, None for 1/(ilr + pr)", ge=0, search=(1e-3, 1.0))
    ilr: float = hyper(1e-3, "curvature of the parabolas", gt=0)
    pr: float | None = hyper(None, "weight of the distance from p; None: by lr, 0 if only ilr is given, else 10", ge=0)
    beta: float = hyper(0.5, "how fast the weight of the newest gradient falls", ge=0)
    memory_length: int | None = hyper(100, "steps after which the averages begin anew, None for never", ge=1)
    init_average: str = hyper("zeros", "where T starts: at zero, or at p", choices=("zeros", "param"))

    mov_avg_grad = state("G, average of g")
    mov_avg_param = state("T, average of p")

    @classmethod
    def resolve(cls, options: dict[str, Any], given: frozenset[str]) -> dict[str, Any]:
        """Settle lr, ilr and pr."""
        lr, ilr, pr = options["lr"], options["ilr"], options["pr"]
        if "lr" in given and lr is not None:
            if "pr" not in given:
                pr = None
            if pr is not None and abs(lr * (ilr + pr) - 1) > 1e-9:
                raise InvalidOption(
                    f"{cls.__name__}: lr={lr:g} is not 1/(ilr + pr)={1 / (ilr + pr):g}: leave out one of lr and pr"
                )
        elif lr is None or given & {"lr", "ilr", "pr"}:
            if pr is None:
                pr = 0.0 if "ilr" in given else 10.0
            lr = 1 / (ilr + pr)
        return options | {"lr": lr, "pr": pr}

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        mov_avg_grad: Value,
        mov_avg_param: Value,
        *,
        lr: Value,
        ilr: Value,
        beta: Value,
        memory_length: Value | None,
        init_average: str,
        step: Value,
        first: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        w = ((step if memory_length is None else step % memory_length) + 1) ** -beta
        mov_avg_grad = lerp(mov_avg_grad, g, w)
        mov_avg_param = p if first and init_average == "param" else lerp(mov_avg_param, p, w)
        return p + lr * (ilr * (mov_avg_param - p) - mov_avg_grad), mov_avg_grad, mov_avg_param
