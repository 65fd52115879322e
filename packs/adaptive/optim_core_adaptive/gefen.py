"""Gefen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from optim_core import RuleOptimizer, decoupled, hyper, state
from optim_core.rules import Value, lerp, root, square, stacked
from optim_core_adaptive.codebook import fitted, period, scaled
from optim_core_adaptive.subsets import scaled_blocks, subset_length


class Gefen(RuleOptimizer):
    """AdamW with a second moment for each period of a tensor, and the first moment in one byte an element.

    A tensor is taken flat, in blocks of P elements. With Q(x) the entry of a codebook nearest to x, and A the largest
    magnitude of m over a block::

        v = beta2 v + (1 - beta2) (mean of g^2 over the block)
        m = beta1 m + (1 - beta1) g;    m = A Q(m / A)
        p = p (1 - lr weight_decay) - lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)

    P is the length of blocks whose means of log g^2 differ most from block to block, among lengths above 8 that stand
    out from those next to them; where none does, each element has its own v, and A is that of up to 256 elements. The
    codebook is the best for all gradients, each block divided by its largest magnitude, among those of
    ``codebook_size`` entries with -1 and 1 among them. Both follow from the first gradients and stay:
    an unusual first batch fixes them for the whole run. A parameter whose gradients begin later takes the codebook
    that there is. Where all P are 1, as for small layers, there are but -1 and 1 in it: a momentum of signs.

    The momentum is stored as codes of a byte. v has a number for each element here, equal ones in a block, where the
    author's code keeps one a block; so a state of about 5 bytes an element remains, of Adam's 8. Take AdamW's options.
    Whole tensors of real numbers only, not sharded ones.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = Gefen([w], lr=0.1)
        >>> loss = optimizer.minimize(lambda: w.square().sum())
        >>> [round(x, 3) for x in w.tolist()], optimizer.state[w]["m_codebook"].dtype
        ([0.8, -1.9], torch.uint8)

    Source: Gefen: Optimized Stochastic Optimizer, 2026, https://arxiv.org/abs/2606.13894.
    """

    lr: float = hyper(1e-3, "step size", ge=0, search=(1e-4, 1e-1))
    betas: tuple[float, float] = hyper((0.9, 0.999), "decay of the averages of g and of its square", ge=0, lt=1)
    eps: float = hyper(1e-8, "added to the root", ge=0)
    weight_decay: float = decoupled(0.0)
    codebook_size: int = hyper(256, "entries of the codebook", ge=2, le=256, common=True)

    sees_gradients = True

    # all have a dimension more than the parameter, so that none is taken for a number per element
    m_codebook = state("codes of m", shape=lambda shape, group: (*shape, 1), stored="uint8")
    m_magnitude = state("A of each block", shape=lambda shape, group: _vector(scaled_blocks(math.prod(shape)), shape))
    vmean = state("v")
    automatic_period = state("P", shape=lambda shape, group: _vector(1, shape), stored="float32")
    codebook = state("the codebook, in order", shape=lambda shape, group: _vector(group["codebook_size"], shape))

    def extras(self, params: Sequence[Tensor]) -> Mapping[str, Sequence[Tensor]]:
        """Before the first step of a parameter, its period, and before the first of all the codebook."""
        del params
        pairs = [(p, group) for group in self.param_groups for p in group["params"]]
        new = {
            number: (p, group)
            for number, (p, group) in enumerate(pairs)
            if p.grad is not None and p.numel() and not self.state[p].get("step")
        }
        if not new:
            return {}
        periods = {number: period(self._gradient(*pair)) for number, pair in new.items()}
        book = next((x["codebook"].flatten() for x in self.state.values() if x.get("step")), None)
        if book is None:  # one gradient at a time, since each is made anew
            blocks = (scaled(self._gradient(*pair).view(-1, periods[number])) for number, pair in new.items())
            book = fitted(blocks, self.param_groups[0]["codebook_size"])
        for number, (p, group) in new.items():
            self.start_state(p, group, number)
            P = torch.tensor(float(periods[number]))
            self.set_state(p, automatic_period=P.view(_vector(1, p.shape)))
            self.set_state(p, codebook=book.view(_vector(len(book), p.shape)))
        return {}

    def _gradient(self, p: Tensor, group: Mapping[str, Any]) -> Tensor:
        """The gradient of a parameter, flat, as the method minimises."""
        scale = float(getattr(self, "grad_scale", None) or 1.0)  # GradScaler sets it for the time of the call
        g = cast("Tensor", p.grad).detach().flatten().double()
        return g / (-scale if group["maximize"] else scale)

    @staticmethod
    def rule(
        p: Value,
        g: Value,
        m_codebook: Value,
        m_magnitude: Value,
        vmean: Value,
        automatic_period: Value,
        codebook: Value,
        *,
        lr: Value,
        betas: tuple[Value, Value],
        eps: Value,
        step: Value,
    ) -> tuple[Value, ...]:
        """The update above."""
        beta1, beta2 = betas
        vmean = lerp(_block_means(square(g), automatic_period), vmean, beta2)
        m, m_codebook, m_magnitude = _averaged(g, m_codebook, m_magnitude, automatic_period, codebook, beta1=beta1)
        c2 = 1 - beta2**step
        p = p - lr / (1 - beta1**step) * m / root(vmean, eps, c2)
        return p, m_codebook, m_magnitude, vmean, automatic_period, codebook


def _vector(length: int, shape: Sequence[int]) -> tuple[int, ...]:
    return (length, *(1 for _ in shape))


def _blocks(period: Tensor, elements: int) -> Tensor:
    """The number of the block in which each element of each tensor of a stack is, for a length of blocks each."""
    return torch.arange(elements, device=period.device) // period.reshape(-1, 1).long().clamp(min=1)


@stacked("element")
def _block_means(x: Tensor, period: Tensor) -> Tensor:
    """What each element has of the means over blocks."""
    flat = x.reshape(len(x), -1)
    blocks = _blocks(period, flat.shape[1])
    sums = torch.zeros_like(flat).scatter_add(1, blocks, flat).gather(1, blocks)
    return (sums / period.reshape(-1, 1).to(x.dtype).clamp(min=1)).reshape(x.shape)


@stacked("element", "own", "own")
def _averaged(
    g: Tensor, codes: Tensor, magnitude: Tensor, period: Tensor, codebook: Tensor, *, beta1: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The average of g as it is read back from its codes, the codes, and their magnitudes."""
    flat, book, A = g.reshape(len(g), -1), codebook.reshape(len(g), -1), magnitude.reshape(len(g), -1)
    whole = subset_length(flat.shape[1], 256)
    blocks = _blocks(torch.where(period > 1, period, whole), flat.shape[1])
    m = book.gather(1, codes.reshape(len(g), -1).long()) * A.gather(1, blocks)
    m = torch.lerp(flat, m, beta1)
    A = torch.zeros_like(A).scatter_reduce(1, blocks, m.abs(), "amax")
    largest = A.gather(1, blocks)
    x = torch.where(largest > 0, m / largest, 0.0)
    # an entry's codes end in the middle between it and the next, which is still its own
    new = torch.searchsorted((book[:, 1:] + book[:, :-1]) / 2, x)
    m = book.gather(1, new) * largest
    return m.reshape(g.shape), new.to(codes.dtype).reshape(codes.shape), A.reshape(magnitude.shape)
