"""Muon."""

from __future__ import annotations

from optim_core import decoupled, hyper, state
from optim_core.rules import Value
from optim_core_second_order.orthogonal import Orthogonal, Orthogonalised, adjustment, averaged


class Muon(Orthogonalised):
    """Momentum made nearly orthogonal: a step of the same size in all directions of a matrix.

    For hidden matrices; a weight of more dimensions counts as one, of dimension 0 by all others::

        M = momentum M + (1 - momentum) g
        u = momentum M + (1 - momentum) g          with nesterov; otherwise u = M
        X = u / (||u|| + eps)                      the Frobenius norm; norm_eps_mode="clamp": u / max(||u||, eps)
        X = a X + b X X^T X + c (X X^T)^2 X        ns_steps times, a b c being ns_coefficients
        p = p (1 - lr weight_decay) - lr r X       r = sqrt(max(1, rows/columns))

    r is 0.2 sqrt(max(rows, columns)) with ``adjust_lr_fn="match_rms_adamw"``, which lets AdamW's lr and weight_decay
    be used again, and sqrt(rows/columns) with "spectral". The singular values of X end between 0.7 and 1.2, not at 1.

    ``ns_coefficients`` may be a tuple of triples, one for each step (``ns_end`` says what follows the last), or the
    name of a set: "polar_express", "cans", "quintic5", "deepseekv4", "cubic5" and "turbo" come nearer to 1 in as many
    steps. A set brings the options that it is made for: "turbo" has 4 steps, and ``ns_norm="aol"``, which balances
    rows in the place of dividing by the norm. ``ns_norm_scale`` is the head room that some sets want: X = u /
    (ns_norm_scale ||u|| + eps). ``ns_method="gram"`` takes the steps between ``ns_restarts`` on the Gram matrix of an
    oblong matrix alone; "standard", which is the same up to rounding, does so by itself where it is worth it.

    ``blocks`` says what matrices the parameters of a group are made of: "rows/12" are twelve heads (of a fused Q, K and
    V all of them), "rows:64+64" a fused gate and up projection, "columns/4" the heads of an output projection, "batch"
    the experts of a stack over the last two axes. Each is a matrix of its own, with its own r.
    ``Muon(Muon.groups_of(model, blocks=by_module))`` tells them from torch's modules (``by_module`` of
    :mod:`~optim_core_second_order.blockwise`), a function of (name, module, parameter) or a mapping of types
    does as you like.

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
    eps: float = hyper(1e-7, "keeps the norm from 0", gt=0)
    norm_eps_mode: str = hyper("add", "whether eps is added to the norm or its least value", choices=("add", "clamp"))
    adjust_lr_fn: str | None = hyper(
        "original", "what r is; None is 'original'", choices=("original", "match_rms_adamw", "spectral")
    )

    momentum_buffer = state("average of g")

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum_buffer: Value,
        *,
        lr: Value,
        momentum: Value,
        nesterov: bool,
        eps: Value,
        norm_eps_mode: str,
        adjust_lr_fn: str | None,
        orthogonal: Orthogonal,
    ) -> tuple[Value, Value]:
        """The update above."""
        M, u = averaged(g, momentum_buffer, momentum, nesterov=nesterov)
        X = orthogonal(u, eps, clamp=norm_eps_mode == "clamp")
        return p - lr * (adjustment(p, adjust_lr_fn or "original") * X), M
