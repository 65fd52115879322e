"""MuonClip."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from optim_core import decoupled, hyper, state
from optim_core.errors import InvalidOption
from optim_core.rules import Value
from optim_core_second_order.orthogonal import Orthogonal, Orthogonalised, adjustment, summed


class MuonClip(Orthogonalised):
    """Muon with AdamW's size of steps, and attention weights that are scaled down where logits grow too large.

    For hidden matrices; the rest of a model goes to AdamW, as in :class:`~optim_core_second_order.Muon`, with the same
    lr unless ``adam_lr`` says otherwise::

        M = momentum M + g
        p = p (1 - lr weight_decay) - lr 0.2 sqrt(max(rows, columns)) orthogonal(M)
        query rows of head h times c^qk_clip_alpha            then, where the largest logit S_h of a head is above
        key rows of head h times c^(1 - qk_clip_alpha)        qk_clip_threshold; c = qk_clip_threshold / S_h

    The weights of an attention layer stand in groups of their own, with ``attention_name``, which all of one layer
    share, and ``qk_clip``: "query" or "key"; in multi-head latent attention "query_rotary", which is multiplied by c,
    or "key_rotary", which is left alone. Before the step, :meth:`observe_logits` is told the largest logits of that
    layer. Heads are equal blocks of rows in their order; ``qk_heads`` says how many a matrix has if these are fewer
    than there are logits, and it is then scaled for the worst of those that share a head.

    Logits are those before the step, over the whole batch: with several processes, give all of them the maximum over
    all. Biases of the projections are not clipped, unless they stand in such a group.

    Example:
        >>> import torch
        >>> q, k = (torch.nn.Parameter(torch.ones(4, 3)) for _ in range(2))
        >>> groups = [{"params": [q], "attention_name": "layer0", "qk_clip": "query"}]
        >>> groups += [{"params": [k], "attention_name": "layer0", "qk_clip": "key"}]
        >>> optimizer = MuonClip(groups, lr=0.0)
        >>> optimizer.observe_logits("layer0", torch.tensor([25.0, 400.0]))
        >>> loss = optimizer.minimize(lambda: (q * k).sum())
        >>> q[:, 0].tolist(), k[:, 0].tolist()
        ([1.0, 1.0, 0.5, 0.5], [1.0, 1.0, 0.5, 0.5])

    Source: Kimi K2: Open Agentic Intelligence, 2025, Algorithm 1, https://arxiv.org/abs/2507.20534.
    """

    lr: float = hyper(0.02, "step size", ge=0, search=(1e-3, 1e-1))
    momentum: float = hyper(0.95, "decay of the sum of gradients", ge=0, lt=1)
    weight_decay: float = decoupled(0.0)
    qk_clip_threshold: float = hyper(100.0, "largest logit that is left alone", gt=0)
    qk_clip_alpha: float = hyper(0.5, "part of the scaling that queries get", ge=0, le=1)
    attention_name: str | None = hyper(None, "the attention layer that a group belongs to")
    qk_clip: str | None = hyper(
        None, "what a group is in its layer", choices=("query", "key", "query_rotary", "key_rotary")
    )
    qk_heads: int | None = hyper(None, "heads of a group's matrices, None for one for each logit", ge=1)

    momentum_buffer = state("decayed sum of gradients")

    adam_share: ClassVar = 1.0

    def observe_logits(self, attention_name: str, largest: Tensor) -> None:
        """Tell the largest logits of a layer before the next step; of several calls the larger ones count.

        Args:
            attention_name: the layer, as its groups have it.
            largest: one number for each head.

        Raises:
            InvalidOption: no group has that name, or its rows cannot be so many heads.
        """
        layer = [group for group in self.param_groups if group["attention_name"] == attention_name]
        if not layer:
            known = sorted({str(group["attention_name"]) for group in self.param_groups} - {"None"})
            raise InvalidOption(
                f"MuonClip: attention_name={attention_name!r} is in no parameter group; there are {known}. Give the "
                "groups of its queries and keys that name, and qk_clip"
            )
        largest = largest.detach()
        for group in layer:
            heads = group["qk_heads"] or len(largest)
            wrong = [p for p in group["params"] if p.shape[0] % heads or len(largest) % heads]
            if wrong:
                raise InvalidOption(
                    f"MuonClip: {heads} heads for {len(largest)} logits and a weight of shape {tuple(wrong[0].shape)}: "
                    "rows and logits are equal blocks, one a head; qk_heads says how many heads a matrix has"
                )
        before = self._logits.get(attention_name)
        self._logits[attention_name] = largest if before is None else torch.maximum(before, largest)

    @property
    def _logits(self) -> dict[str, Tensor]:
        """Those of the step to come, which are no state: they go with it."""
        return self.__dict__.setdefault("_largest_logits", {})  # type: ignore[no-any-return]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters, then scale down what has been observed to grow too large."""
        loss = super().step(closure)
        found_inf = getattr(self, "found_inf", None)
        if found_inf is None or not float(found_inf):
            for p, factors in self._factors():
                heads = p.view(len(factors), -1)
                heads.mul_(factors.to(p).unsqueeze(1))
        self._logits.clear()
        return loss

    def _factors(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The weights of observed layers, each with a factor a head."""
        for group in self.param_groups:
            largest = self._logits.get(group["attention_name"])
            if largest is None or group["qk_clip"] in (None, "key_rotary"):
                continue
            worst = largest.reshape(group["qk_heads"] or len(largest), -1).amax(1)
            c = (group["qk_clip_threshold"] / worst.clamp(min=group["qk_clip_threshold"])).double()
            power = {"query": group["qk_clip_alpha"], "key": 1 - group["qk_clip_alpha"], "query_rotary": 1.0}
            for p in group["params"]:
                yield p, c ** power[group["qk_clip"]]

    @staticmethod
    def rule(
        p: Value, g: Value, momentum_buffer: Value, *, lr: Value, momentum: Value, orthogonal: Orthogonal
    ) -> tuple[Value, ...]:
        """The update above, up to the clipping."""
        M, u = summed(g, momentum_buffer, momentum, nesterov=False)
        return p - lr * (adjustment(p, "match_rms_adamw") * orthogonal(u)), M
