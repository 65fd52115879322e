"""What Gefen finds out from first gradients: the period of each tensor, and one codebook for all."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from optim_core_adaptive.subsets import divisors


def period(g: Tensor) -> int:
    """The length of blocks that differ most from each other, of a flat gradient; 1 if none stands out.

    Example:
        >>> period(torch.tensor([1.0] * 12 + [100.0] * 12).repeat(4).double())
        12
    """
    lengths = [k for k in divisors(g.numel()) if k * 4 <= g.numel()]
    logs = torch.log(g.square() + 1e-12)
    scores = [float(logs.view(-1, k).mean(dim=1).diff().abs().mean()) for k in lengths]
    inner = zip(lengths[1:-1], scores, scores[1:], scores[2:], strict=False)
    standing_out = [(score, k) for k, before, score, after in inner if k > 8 and score > before and score > after]
    found = max(standing_out, default=(0.0, 1))[1]
    if found <= 1024:
        return found
    return next(k for k in divisors(found) if k > 1024 and g.numel() % k == 0)


def scaled(x: Tensor) -> Tensor:
    """Each row divided by its largest magnitude; 0 if that is 0.

    Example:
        >>> scaled(torch.tensor([[1.0, -2.0], [0.0, 0.0]])).tolist()
        [[0.5, -1.0], [0.0, 0.0]]
    """
    largest = x.abs().amax(dim=1, keepdim=True)
    return torch.where(largest > 0, x / largest, 0.0)


def fitted(gradients: Iterable[Tensor], size: int) -> Tensor:
    """The entries that are nearest to numbers between -1 and 1 on average, of which -1 and 1 are two; in order.

    Example:
        >>> [round(x, 3) for x in fitted([torch.tensor([-1.0, -0.5, -0.5, 0.5, 1.0]).double()], 4).tolist()]
        [-1.0, -0.484, 0.516, 1.0]
    """
    bins = 16 * size
    counts = torch.zeros(bins, dtype=torch.float64)
    for x in gradients:
        at = ((x.flatten().nan_to_num(0.0) + 1) * (bins / 2)).floor().long().clamp(0, bins - 1)
        counts += torch.bincount(at, minlength=bins).to("cpu", torch.float64)
    centres = -1 + (torch.arange(bins, dtype=torch.float64) + 0.5) * 2 / bins
    centres, counts = centres[counts > 0], counts[counts > 0]
    if len(centres) >= size:
        return clustered(centres, counts, size)
    book = (
        torch.cat([centres, centres[-1:].expand(size - len(centres))]) if len(centres) else torch.zeros(size).double()
    )
    book[0], book[-1] = -1.0, 1.0
    return book.sort().values


def clustered(x: Tensor, w: Tensor, size: int) -> Tensor:
    """The centres of contiguous clusters of numbers with the least sum of weighted squared distances.

    The first centre is -1 and the last 1; the others are the means of their clusters. Exact, by a dynamic programme
    over the end of the last cluster. Where a cluster begins does not fall as its end rises, so that the beginnings
    are found for every other end, between those of its neighbours.

    Args:
        x: the numbers, in order.
        w: their weights.
        size: how many clusters.
    """
    sums = [torch.cat([torch.zeros(1, dtype=x.dtype), (w * x**k).cumsum(0)]) for k in (0, 1, 2)]

    def within(i: Tensor, j: Tensor, centre: float | None) -> Tensor:
        """The sum for a cluster of numbers i to j - 1; infinite for one that has none."""
        s0, s1, s2 = (s[j] - s[i] for s in sums)
        cost = s2 - s1.square() / s0 if centre is None else s2 - 2 * centre * s1 + centre**2 * s0
        return torch.where(j > i, cost, torch.inf)

    ends = torch.arange(len(x) + 1)
    costs, beginnings = within(torch.zeros_like(ends), ends, -1.0), []
    for _ in range(size - 2):
        costs, begin = _next(costs, lambda i, j: within(i, j, None))
        beginnings.append(begin)
    last = int((costs + within(ends, torch.full_like(ends, len(x)), 1.0)).argmin())
    cuts = [last]
    for begin in reversed(beginnings):
        cuts.append(int(begin[cuts[-1]]))
    i, j = torch.tensor(cuts[:0:-1], dtype=torch.long), torch.tensor(cuts[-2::-1], dtype=torch.long)
    means = (sums[1][j] - sums[1][i]) / (sums[0][j] - sums[0][i])
    book = torch.cat([torch.tensor([-1.0], dtype=x.dtype), means, torch.tensor([1.0], dtype=x.dtype)])
    return book.sort().values


def _next(costs: Tensor, within: object) -> tuple[Tensor, Tensor]:
    """The least costs with one more cluster, by its end, and where it begins: the first of equal ones."""
    n = len(costs)
    best, begin = torch.full_like(costs, torch.inf), torch.zeros(n, dtype=torch.long)
    stride = 1 << (n - 1).bit_length()
    known = torch.zeros(0, dtype=torch.long)
    while stride:
        ends = torch.arange(0, n, stride)
        ends = ends[~torch.isin(ends, known)] if len(known) else ends
        low = torch.where(ends >= stride, begin[(ends - stride).clamp(min=0)], 0) if len(known) else ends * 0
        above = ends + stride
        high = torch.where(above < n, begin[above.clamp(max=n - 1)], ends) if len(known) else ends
        high = torch.minimum(torch.maximum(high, low), ends)
        low = torch.minimum(low, high)
        lengths = high - low + 1
        of = torch.repeat_interleave(torch.arange(len(ends)), lengths)
        i = low[of] + torch.arange(len(of)) - (lengths.cumsum(0) - lengths)[of]
        total = costs[i] + within(i, ends[of])  # type: ignore[operator]
        least = torch.full((len(ends),), torch.inf, dtype=costs.dtype).scatter_reduce(0, of, total, "amin")
        first = torch.full((len(ends),), n, dtype=torch.long)
        first = first.scatter_reduce(0, of, torch.where(total == least[of], i, n), "amin")
        best[ends], begin[ends] = least, first.clamp(max=n - 1)
        known = torch.arange(0, n, stride)
        stride //= 2
    return best, begin
