"""Gefen: its codebook is the best there is, and its momentum takes a byte an element."""

from __future__ import annotations

import itertools

import torch
from optim_core_adaptive import Gefen
from optim_core_adaptive.codebook import clustered
from torch.nn import Parameter


def cost(x: list[float], w: list[float], cuts: tuple[int, ...]) -> float:
    """Of clusters that begin at the cuts, the first centre being -1 and the last 1."""
    total, bounds = 0.0, (0, *cuts, len(x))
    for k, (i, j) in enumerate(itertools.pairwise(bounds)):
        mean = sum(a * b for a, b in zip(x[i:j], w[i:j], strict=True)) / sum(w[i:j])
        centre = -1.0 if k == 0 else 1.0 if k == len(cuts) else mean
        total += sum(b * (a - centre) ** 2 for a, b in zip(x[i:j], w[i:j], strict=True))
    return total


def test_no_other_clusters_are_better() -> None:
    generator = torch.Generator().manual_seed(0)
    for size in (2, 3, 4, 6, 11):
        x = torch.rand(11, dtype=torch.float64, generator=generator).mul(2).sub(1).sort().values
        w = torch.randint(1, 9, (11,), generator=generator).double()
        best = min(itertools.combinations(range(1, 11), size - 1), key=lambda c: cost(x.tolist(), w.tolist(), c))
        means = [float((x[i:j] * w[i:j]).sum() / w[i:j].sum()) for i, j in itertools.pairwise(best)]
        torch.testing.assert_close(clustered(x, w, size), torch.tensor([-1.0, *means, 1.0], dtype=torch.float64))


def test_a_long_codebook_is_found_in_time() -> None:
    x = torch.linspace(-1, 1, 4096, dtype=torch.float64)
    book = clustered(x, 1 + torch.cos(9 * x), 256)
    assert len(book) == 256
    assert bool((book.diff() > 0).all())


def test_codes_take_a_byte_and_survive_saving() -> None:
    w = Parameter(torch.sin(torch.arange(96.0)).reshape(8, 12))
    optimizer = Gefen([w], lr=0.01)
    optimizer.minimize(lambda: w.square().sum())
    assert optimizer.state[w]["m_codebook"].dtype is torch.uint8
    other = Gefen([w], lr=0.01)
    other.load_state_dict(optimizer.state_dict())
    assert other.state[w]["m_codebook"].dtype is torch.uint8
    assert torch.equal(other.state[w]["m_codebook"], optimizer.state[w]["m_codebook"])
    assert optimizer.state_bytes() == sum(x.nbytes for x in optimizer.state[w].values() if isinstance(x, torch.Tensor))


def test_a_parameter_that_comes_later_takes_the_codebook() -> None:
    first, later = (Parameter(torch.sin(torch.arange(48.0) + k)) for k in range(2))
    optimizer = Gefen([first, later], lr=0.01, codebook_size=8)
    optimizer.minimize(lambda: first.pow(4).sum())
    optimizer.minimize(lambda: first.pow(4).sum() + later.pow(2).sum())
    assert torch.equal(optimizer.state[first]["codebook"], optimizer.state[later]["codebook"])
