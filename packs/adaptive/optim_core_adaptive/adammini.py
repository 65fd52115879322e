"""Adam-mini."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from optim_core import RuleOptimizer, decoupled, hyper, state
from optim_core.rules import Value, lerp, mean, root, second_moment, square, stacked

Shape = tuple[int, ...]


def _heads(shape: Shape, group: Mapping[str, Any]) -> Shape | None:
    if group["block"] != "head":
        return None
    size = group["dim"] ** 2 / group["n_heads"]
    heads = math.prod(shape) / size
    fits = size.is_integer() and heads.is_integer()
    return (int(heads) if fits else math.prod(shape[:1]), 1)


class AdamMini(RuleOptimizer):
    """AdamW with one second moment for a block of weights instead of one for each: half of Adam's memory.

    With q the mean of g^2 over the block, for which ``block`` stands::

        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) q
        p = p (1 - lr weight_decay) - lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)

    The names of the parameters decide, by what is found in them, the first that fits:

    =========  =====================================================================  =======================
    block      it is                                                                  for names with
    =========  =====================================================================  =======================
    element    each weight                                                            bias
    head       dim^2 / n_heads weights: a head                                        q_proj, k_proj, query ...
    row        an index of dimension 0 (of two dimensions and more)                   embed, lm_head, mlp ...
    tensor     the whole tensor                                                       all others
    =========  =====================================================================  =======================

    Names with norm, ln or bias do not decay. Without names all decay, and rows are the blocks, which for vectors are
    their elements. ``AdamMini.layers`` and ``AdamMini.undecayed`` hold the words; a subclass may have others, and what
    a group says of ``block`` goes before names. Words are found anywhere: "key" in "monkey", "ln" in "vuln". A fused
    qkv matches nothing and is one block, which the authors warn of: give its group block="row".

    Take AdamW's lr, betas and decay. dim and n_heads are the model's; where heads of that size do not divide a
    parameter, its rows are the blocks. With grouped queries the heads of keys have the same size (the n_kv_heads of the
    authors' code makes no difference there). pytorch-optimizer follows an older version of that, with other blocks.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.LayerNorm(8))
        >>> optimizer = AdamMini(model, lr=0.1)
        >>> [(group["block"], group["param_names"]) for group in optimizer.param_groups]
        [('tensor', ['0.weight', '1.weight']), ('element', ['0.bias', '1.bias'])]
        >>> loss = optimizer.minimize(lambda: model(torch.ones(3, 4)).square().mean())

    Source: Zhang et al., Adam-mini: Use Fewer Learning Rates To Gain More, 2024, Algorithm 1,
    https://arxiv.org/abs/2406.16793; words as in the authors' code, version 1.1.1.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of q", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the root", ge=0)
    weight_decay: float = decoupled(0.0)
    decoupled_weight_decay: bool = hyper(True, "False: add weight_decay*p to g")
    dim: int = hyper(2048, "width of the model", ge=1)
    n_heads: int = hyper(32, "heads of an attention layer", ge=1)
    block: str | None = hyper(
        None, "what has one second moment, None for what names say", choices=("head", "row", "tensor", "element")
    )

    needs = frozenset({"named_params"})

    #: The block of what has one of these words in its name, in the order in which they are looked for.
    layers: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "element": ("bias",),
        "head": ("k_proj", "q_proj", "wq", "wk", "query", "key"),
        "row": (
            *("embed", "embd", "wte", "lm_head", "output", "final_layer"),
            *("v_proj", "wv", "value", "o_proj", "wo", "attn.proj", "feed_forward", "linear", "mlp"),
        ),
    }
    #: What does not decay has one of these words in its name.
    undecayed: ClassVar[tuple[str, ...]] = ("norm", "ln", "bias")

    m = state("average of g")
    vmean = state("average of q", level=lambda group: group["block"] or "tensor", when=lambda g: g["block"] != "head")
    vmean_head = state("average of q for each head", shape=_heads)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; one without ``block`` is cut into those that the names make of it."""
        options = self.defaults | self.method.check_group(param_group)
        params = param_group["params"]
        if options["block"] is not None or isinstance(params, set):
            super().add_param_group(param_group)
            return
        parts: dict[tuple[str, bool], list[Any]] = {}
        for x in [params] if isinstance(params, Tensor) else params:
            part = (self.block_of(*x), self.decays(x[0])) if isinstance(x, tuple) else ("row", True)
            parts.setdefault(part, []).append(x)
        for (block, decays), members in (parts or {("row", True): []}).items():
            decay = {} if decays else {"weight_decay": 0.0}
            super().add_param_group({**param_group, **decay, "params": members, "block": block})

    @classmethod
    def block_of(cls, name: str, p: Tensor) -> str:
        """The block that a name stands for."""
        found = (block for block, words in cls.layers.items() if any(word in name.lower() for word in words))
        block = next(found, "tensor")
        return "tensor" if block == "row" and p.ndim < 2 else block

    @classmethod
    def decays(cls, name: str) -> bool:
        """Whether what has this name decays."""
        return not any(word in name.lower() for word in cls.undecayed)

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        m: Value,
        vmean: Value | None,
        vmean_head: Value | None,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        block: str | None,
        step: Value,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        beta1, beta2 = betas
        m = lerp(g, m, beta1)
        if vmean is None:
            vmean_head, v = _averaged(vmean_head, g, b=beta2)
        else:
            q = square(g)
            q = q if block == "element" else mean(q, "row" if block == "row" else "tensor")
            v = vmean = lerp(q, vmean, beta2)
        c2 = 1 - beta2**step
        p = p - lr / (1 - beta1**step) * m / root(second_moment(v, c2), eps, c2)
        return p, m, vmean, vmean_head


@stacked("own", "element")
def _averaged(v: Tensor, g: Tensor, *, b: float) -> tuple[Tensor, Tensor]:
    """The averages of heads, and what each weight has of them."""
    heads = g.reshape(*v.shape[:2], -1)
    v = v.lerp(heads.square().mean(dim=2, keepdim=True), 1 - b)
    return v, v.expand_as(heads).reshape(g.shape)
