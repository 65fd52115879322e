"""Muon."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from optim_core import decoupled, hyper, state
from optim_core.errors import InvalidOption
from optim_core.optimizers import Explanation, Row, RuleOptimizer
from optim_core.rules import Value, bfloat16, lerp, maximum, norm, sqrt, square, stacked
from optim_core_second_order.newton_schulz import orthogonalised
from optim_core_second_order.routing import routes

#: The authors' step sizes: 3e-4 for AdamW beside 0.02 for Muon.
_ADAM_SHARE = 3e-4 / 0.02


class Muon(RuleOptimizer):
    """Momentum made nearly orthogonal: a step of the same size in all directions of a matrix.

    For hidden matrices; a weight of more dimensions counts as one, of dimension 0 by all others::

        M = momentum M + (1 - momentum) g
        u = momentum M + (1 - momentum) g          with nesterov; otherwise u = M
        X = u / (||u|| + eps)                      the Frobenius norm; norm_eps_mode="clamp": u / max(||u||, eps)
        X = a X + b X X^T X + c (X X^T)^2 X        ns_steps times, a b c being ns_coefficients
        p = p (1 - lr weight_decay) - lr r X       r = sqrt(max(1, rows/columns))

    r is 0.2 sqrt(max(rows, columns)) with ``adjust_lr_fn="match_rms_adamw"``, which lets AdamW's lr and weight_decay
    be used again. The singular values of X end between 0.7 and 1.2, not at 1.

    Everything else is left to AdamW, in groups of its own: lr and weight_decay in them are what ``adam_lr`` and
    ``adam_weight_decay`` say, and ``adam_lr=None`` is 0.015 lr, the authors' proportion. What goes there:

    * ``Muon(model)`` and ``create_optimizer(model, "muon")`` tell from the modules: embeddings (and what is tied to
      them), the last linear or convolutional layer, which is taken for the head, normalisation layers, parameters
      beside submodules (position embeddings, tokens), and everything of fewer than two dimensions;
    * ``Muon(Muon.groups_of(model, hidden=f))``: what ``f(name, module, parameter)`` is false for;
    * ``Muon(model.parameters())`` can only tell what has fewer than two dimensions;
    * a group with ``use_muon`` is what it says, and lr and weight_decay in it are those in force.

    ``print(optimizer.explain())`` shows it. Under ``match_rms_adamw`` set ``adam_lr`` yourself.

    The authors' code takes r for a convolution from the size of its kernel, which is 1 for square ones; r here is that
    of the matrix. It also lets a missing gradient count as zero, and torch.optim.Muon takes nothing but matrices, with
    lr 1e-3 and weight_decay 0.1. In ``ns_dtype="bfloat16"``, as in both, steps have errors of a percent.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
        >>> optimizer = Muon(model, lr=0.02)
        >>> [(row.name, row.method, row.lr) for row in optimizer.explain()][:2]
        [('0.weight', 'Muon', 0.02), ('0.bias', 'AdamW in Muon: fewer than two dimensions', 0.0003)]
        >>> loss = optimizer.minimize(lambda: model(torch.ones(3, 4)).square().mean())

    Source: Jordan et al., Muon: An optimizer for hidden layers in neural networks, 2024,
    https://kellerjordan.github.io/posts/muon/; match_rms_adamw: Liu et al., Muon is Scalable for LLM Training, 2025,
    https://arxiv.org/abs/2502.16982.
    """

    lr: float = hyper(0.02, "step size", ge=0, search=(1e-3, 1e-1))
    momentum: float = hyper(0.95, "decay of the average of g", ge=0, lt=1)
    weight_decay: float = decoupled(0.0)
    nesterov: bool = hyper(True, "look one gradient ahead")
    ns_steps: int = hyper(5, "steps of the iteration", ge=1)
    ns_coefficients: tuple[float, float, float] = hyper((3.4445, -4.7750, 2.0315), "a, b and c of a step")
    eps: float = hyper(1e-7, "keeps the norm from 0", gt=0)
    norm_eps_mode: str = hyper("add", "whether eps is added to the norm or its least value", choices=("add", "clamp"))
    adjust_lr_fn: str | None = hyper(
        "original", "what r is; None is 'original'", choices=("original", "match_rms_adamw")
    )
    ns_dtype: str = hyper("bfloat16", "precision of the iteration", choices=("bfloat16", "float32", "float64"))
    use_muon: bool | None = hyper(None, "False leaves a group to AdamW; None: what has fewer than 2 dimensions")
    adam_lr: float | None = hyper(None, "AdamW's step size, None for 0.015 lr", ge=0)
    adam_betas: tuple[float, float] = hyper((0.9, 0.95), "AdamW's decay of the averages of g and g^2", ge=0, lt=1)
    adam_eps: float = hyper(1e-10, "added to AdamW's root", ge=0)
    adam_weight_decay: float = hyper(0.0, "AdamW's weight decay, times its step size", ge=0)

    momentum_buffer = state("average of g", when="use_muon")
    exp_avg = state("AdamW's average of g", when=lambda group: not group["use_muon"])
    exp_avg_sq = state("AdamW's average of g squared", when=lambda group: not group["use_muon"])

    @classmethod
    def groups_of(
        cls, model: nn.Module, hidden: Callable[[str, nn.Module, nn.Parameter], bool] | None = None
    ) -> list[dict[str, Any]]:
        """Groups for a whole model: hidden matrices, and for AdamW one group a reason.

        Args:
            model: the model.
            hidden: which parameters Muon gets, if not by the rule above.
        """
        groups: dict[str, list[tuple[str, nn.Parameter]]] = {"": []}
        for name, module, p, exception in routes(model):
            reason = exception if hidden is None else "" if hidden(name, module, p) else "chosen by hidden"
            groups.setdefault(reason, []).append((name, p))
        matrices = groups.pop("")
        others = [{"params": params, "use_muon": False, "route": reason} for reason, params in groups.items()]
        return [*([{"params": matrices, "use_muon": True}] if matrices else []), *others]

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; one without ``use_muon`` is cut in two, the matrices and the others."""
        given = self.method.check_group(param_group)
        for part in list(self._parts(param_group, self.defaults | given, frozenset(given))):
            super().add_param_group(part)

    def _parts(
        self, group: Mapping[str, Any], options: Mapping[str, Any], given: frozenset[str]
    ) -> Iterator[dict[str, Any]]:
        params = group["params"]
        listed = [params] if isinstance(params, Tensor) else params if isinstance(params, set) else list(params)
        matrices = [x for x in listed if _tensor(x).ndim >= 2]
        others = [x for x in listed if _tensor(x).ndim < 2]
        adam_lr = _ADAM_SHARE * options["lr"] if options["adam_lr"] is None else options["adam_lr"]
        adam = {"lr": adam_lr, "weight_decay": options["adam_weight_decay"]}
        if options["use_muon"] is False:
            own = {name: options[name] for name in adam if name in given}
            yield {**group, "params": listed, **adam, **own, "use_muon": False}
            return
        if options["use_muon"] and others:
            raise InvalidOption(
                f"Muon: use_muon=True in a group with a parameter of shape {tuple(_tensor(others[0]).shape)}, but it "
                "works on matrices: leave use_muon out, and AdamW gets what has fewer than two dimensions"
            )
        if matrices or not others:
            yield {**group, "params": matrices, "use_muon": True}
        if others:
            yield {**group, "params": others, **adam, "use_muon": False, "route": "fewer than two dimensions"}

    def explain(self) -> Explanation:
        """Say what is in force for each parameter, and why; print it."""
        return Explanation(tuple(map(_row, super().explain())))

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum_buffer: Value | None,
        exp_avg: Value | None,
        exp_avg_sq: Value | None,
        *,
        lr: Value,
        momentum: Value,
        nesterov: bool,
        ns_steps: Value,
        ns_coefficients: tuple[Value, Value, Value],
        eps: Value,
        norm_eps_mode: str,
        adjust_lr_fn: str | None,
        ns_dtype: str,
        adam_betas: tuple[Value, Value],
        adam_eps: Value,
        step: Value,
    ) -> tuple[Value | None, ...]:
        """The updates above."""
        if exp_avg is not None and exp_avg_sq is not None:
            beta1, beta2 = adam_betas
            exp_avg = lerp(g, exp_avg, beta1)
            exp_avg_sq = lerp(square(g), exp_avg_sq, beta2)
            d = sqrt(exp_avg_sq / (1 - beta2**step)) + adam_eps
            return p - lr / (1 - beta1**step) * exp_avg / d, None, exp_avg, exp_avg_sq
        M = g if momentum_buffer is None else lerp(g, momentum_buffer, momentum)
        u = lerp(g, M, momentum) if nesterov else M
        X = u / (norm(u) + eps if norm_eps_mode == "add" else maximum(norm(u), eps))
        X = bfloat16(X) if ns_dtype == "bfloat16" else X
        rX = _orthogonal(X, steps=ns_steps, coefficients=ns_coefficients, dtype=ns_dtype, adjust_lr_fn=adjust_lr_fn)
        return p - lr * rX, M, None, None


@stacked("element")
def _orthogonal(
    X: Tensor, *, steps: int, coefficients: tuple[float, float, float], dtype: str, adjust_lr_fn: str | None
) -> Tensor:
    """The iteration on matrices of all but the first dimension, times r."""
    matrices = X.flatten(2)
    rows, columns = matrices.shape[1:]
    r = 0.2 * math.sqrt(max(rows, columns)) if adjust_lr_fn == "match_rms_adamw" else max(1, rows / columns) ** 0.5
    matrices = orthogonalised(matrices.to(getattr(torch, dtype)), steps, coefficients)
    return (matrices if r == 1 else r * matrices).reshape(X.shape)


def _tensor(x: Any) -> Tensor:
    """A parameter that may come with its name."""
    return x[1] if isinstance(x, tuple) else x  # type: ignore[no-any-return]


def _row(row: Row) -> Row:
    """A row that tells the two methods apart."""
    route = row.options.get("route", "asked for")
    hidden = {"use_muon", "route"}
    options = {k: v for k, v in row.options.items() if k not in hidden}
    if row.options["use_muon"]:
        return replace(row, options={k: v for k, v in options.items() if not k.startswith("adam_")})
    mine = {k: v for k, v in options.items() if k in ("adam_betas", "adam_eps", "maximize")}
    return replace(row, method=f"AdamW in Muon: {route}", options=mine)
