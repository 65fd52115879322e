"""MuonClip."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from optim_core import decoupled, hyper, state
from optim_core.errors import InvalidOption
from optim_core.rules import Value, maximum, where
from optim_core_second_order.orthogonal import Orthogonal, Orthogonalised, adjustment, summed


class MuonClip(Orthogonalised):
    """Muon with AdamW's size of steps, and attention weights that are scaled down where logits grow too large.

    For hidden matrices; the rest of a model goes to AdamW, as in :class:`~optim_core_second_order.Muon`, with the same
    lr unless ``adam_lr`` says otherwise::

        M = momentum M + g
        p = p (1 - lr weight_decay) - lr 0.2 sqrt(max(rows, columns)) orthogonal(M)
        c = qk_clip_threshold / max(S, qk_clip_threshold)     S: the largest logit of a head
        p = p c^qk_clip_alpha                                 rows of that head, in queries
        p = p c^(1 - qk_clip_alpha)                           in keys

    The query and key weights of attention stand in groups with ``qk_clip="query"`` or ``"key"``, and
    :meth:`observe_logits` is told, before the step, the largest logits of each of their heads. Heads are equal blocks
    of rows in their order. In multi-head latent attention the rotary part of the queries has ``"query_rotary"``, which
    is multiplied by c, and that of the keys, which is left alone, no such group.

    Logits are those before the step, over the whole batch: with several processes, give all of them the maximum over
    all. Where several query heads share a key, S of that is the largest of theirs. A step that is left out for
    gradients that are not finite keeps what has been observed for the next one.

    Example:
        >>> import torch
        >>> q = torch.nn.Parameter(torch.ones(4, 3))
        >>> optimizer = MuonClip([{"params": [q], "qk_clip": "query"}], lr=0.0)
        >>> optimizer.observe_logits(q, torch.tensor([25.0, 400.0]))
        >>> loss = optimizer.minimize(lambda: q.sum())
        >>> q[:, 0].tolist()
        [1.0, 1.0, 0.5, 0.5]

    Source: Kimi K2: Open Agentic Intelligence, 2025, Algorithm 1, https://arxiv.org/abs/2507.20534.
    """

    lr: float = hyper(0.02, "step size", ge=0, search=(1e-3, 1e-1))
    momentum: float = hyper(0.95, "decay of the sum of gradients", ge=0, lt=1)
    weight_decay: float = decoupled(0.0)
    qk_clip_threshold: float = hyper(100.0, "largest logit that is left alone", gt=0)
    qk_clip_alpha: float = hyper(0.5, "part of the scaling that queries get", ge=0, le=1)
    qk_clip: str | None = hyper(
        None, "what a group is in an attention layer, if so", choices=("query", "key", "query_rotary", None)
    )

    momentum_buffer = state("decayed sum of gradients")
    largest_logits = state(
        "largest logits since the last step", level="row", when=lambda group: group["use_muon"] and group["qk_clip"]
    )

    adam_share: ClassVar = 1.0

    @torch.no_grad()
    def observe_logits(self, p: Tensor, largest: Tensor) -> None:
        """Tell the largest logits of a weight's heads before the next step; of several calls the larger ones count.

        Args:
            p: the weight of queries or keys.
            largest: one number for each head.

        Raises:
            InvalidOption: the weight is in no group with ``qk_clip``, or its rows cannot be so many heads.
        """
        number, group = self.place_of(p)
        if not group["qk_clip"]:
            raise InvalidOption(
                f"MuonClip: the weight of shape {tuple(p.shape)} is in a group without qk_clip: give queries and keys "
                'groups with qk_clip="query" and "key"'
            )
        if not len(largest) or p.shape[0] % len(largest):
            raise InvalidOption(
                f"MuonClip: {len(largest)} logits for a weight of shape {tuple(p.shape)}: heads are equal blocks of "
                "rows, and each has one largest logit"
            )
        self.start_state(p, group, number)
        seen = self.state[p]["largest_logits"].view(len(largest), -1)
        seen.copy_(torch.maximum(seen, largest.detach().to(seen).unsqueeze(1)))

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        momentum_buffer: Value,
        largest_logits: Value | None,
        *,
        lr: Value,
        momentum: Value,
        qk_clip_threshold: Value,
        qk_clip_alpha: Value,
        qk_clip: str | None,
        orthogonal: Orthogonal,
    ) -> tuple[Value | None, ...]:
        """The update above."""
        M, u = summed(g, momentum_buffer, momentum, nesterov=False)
        new = p - lr * (adjustment(p, "match_rms_adamw") * orthogonal(u))
        if largest_logits is None:
            return new, M, None
        c = qk_clip_threshold / maximum(largest_logits, qk_clip_threshold)
        part = qk_clip_alpha if qk_clip == "query" else 1 - qk_clip_alpha
        return new * (c if qk_clip == "query_rotary" else c**part), M, where(largest_logits > 0, 0, largest_logits)
