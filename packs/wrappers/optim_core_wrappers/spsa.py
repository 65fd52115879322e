"""SPSA."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from optim_core.catalog import Need
from optim_core.errors import ClosureError
from optim_core.methods import compute_dtype, hyper, placed_like, real
from optim_core.optimizers import (
    Evaluations,
    GlobalStreams,
    call_closure,
    hashed_seed,
    mean_over_ranks,
    parameters,
    put,
)
from optim_core.wrapping import Wrapper


class SPSA(Wrapper):
    """Steps without backward passes: the gradient is estimated from the losses at two points on a random line.

    For each of n ``samples``, with z drawn anew for all parameters together::

        c = (f(p + epsilon z) - f(p - epsilon z)) / (2 epsilon)
        g = mean of c z

    It is for what cannot be differentiated, and for models whose backward pass does not fit into memory. ``minimize``
    evaluates the closure without a graph, 2 n times, with the same random numbers for both points (dropout): what
    it takes beside the base's states is one copy of the parameters, and the gradient after that. z is never
    kept, but drawn again from its seed, which follows from ``seed`` and the count of draws: a training that goes on
    from a checkpoint draws alike, and so do all ranks, over which the losses are averaged. ``step(closure)`` works, and
    wastes a backward pass for each evaluation. Parameters that require no gradient stay where they are.

    g is right on average, and its noise grows with the number of parameters: the mean square of its elements is some
    d / n of that of the gradient's. Take an lr far below the usual one (1e-7 to 1e-6 for SGD and a language model of
    some billion parameters), and fine-tune what is pretrained. Adaptive methods step by the noise.
    The loss that comes back is the mean over all points, which differs from that at p by the order of epsilon^2.

    Raises:
        ClosureError: the closure returns no single loss; has called backward in ``minimize``; or adds to gradients that
            were there before.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = SPSA(torch.optim.SGD([weight], lr=0.05), samples=4)
        >>> losses = [float(optimizer.minimize(lambda: weight.square().sum())) for _ in range(50)]
        >>> losses[-1] < 0.1 * losses[0], weight.grad.requires_grad
        (True, False)

    Source: Malladi et al., Fine-Tuning Language Models with Just Forward Passes, 2023, Definition 1,
    https://arxiv.org/abs/2305.17333 (normal z; there called MeZO with SGD as base); Spall, Multivariate Stochastic
    Approximation Using a Simultaneous Perturbation Gradient Approximation, 1992, https://doi.org/10.1109/9.119632
    (elements of z are 1 or -1).
    """

    epsilon: float = hyper(1e-3, "distance of the points, in units of z", gt=0)
    samples: int = hyper(1, "random lines for each gradient", ge=1)
    perturbation: str = hyper("normal", "distribution of z", choices=("normal", "rademacher"))
    seed: int = hyper(0, "of the draws", ge=0)

    estimates: ClassVar[bool] = True
    needs: ClassVar[frozenset[Need]] = frozenset({"closure"})
    refuses: ClassVar[Mapping[Need, str]] = {
        "create_graph": "differentiates the gradients, and those of losses alone have no graph; use a first-order "
        "method such as sgd"
    }

    def on_wrap(self) -> None:
        """Count draws from here."""
        super().on_wrap()
        self.counters["draws"] = 0

    def evaluate(self, closure: Callable[[], Any]) -> Tensor:
        """The loss without a graph, and no gradients."""

        def without_graph() -> Any:
            with torch.no_grad():
                result = closure()
                return sum(result) if isinstance(result, Iterator) else result

        try:
            return self._single(call_closure(self, without_graph))
        except RuntimeError as cause:
            if "does not require grad" not in str(cause):
                raise
            raise ClosureError(
                f"{self.method.name} evaluates without a graph, and the closure of minimize() differentiates: it "
                "should only compute and return the loss"
            ) from cause

    def collect(self, run: Callable[[], Any]) -> Any:
        """Leave an estimate of the gradient, at each point at which the base takes one."""
        return super().collect(lambda: self._estimated(run))

    def _estimated(self, run: Callable[[], Any]) -> Tensor:
        params = [p for p in parameters(self) if p.requires_grad]
        draws = range(self.counters["draws"], self.counters["draws"] + self.options["samples"])
        self.counters["draws"] = draws.stop
        here = [p.detach().clone() for p in params]
        evaluations = Evaluations(self, run, self.method.name)
        losses, slopes = [], []
        try:
            for draw in draws:
                streams = GlobalStreams(params)
                self._place(params, here, draw, self.options["epsilon"])
                above = self._single(evaluations.anew(may_rest=True))
                self._place(params, here, draw, -self.options["epsilon"])
                with streams.again():
                    below = self._single(run())
                losses += [above, below]
                slopes.append((above.double() - below.double()) / (2 * self.options["epsilon"]))
        finally:
            with torch.no_grad():
                for p, x in zip(params, here, strict=True):
                    p.copy_(x)
        del here  # before there are gradients
        put(self, [None] * len(parameters(self)))
        for slope, draw in zip(mean_over_ranks(torch.stack(slopes), self), draws, strict=True):
            self._add(params, draw, slope / self.options["samples"])
        return torch.stack(losses).mean()

    @torch.no_grad()
    def _place(self, params: Sequence[Tensor], here: Sequence[Tensor], draw: int, distance: float) -> None:
        for i, (p, x) in enumerate(zip(params, here, strict=True)):
            real(p).copy_(real(x) + distance * self._z(p, draw, i))

    @torch.no_grad()
    def _add(self, params: Sequence[Tensor], draw: int, slope: Tensor) -> None:
        for i, p in enumerate(params):
            if p.grad is None:
                p.grad = torch.zeros_like(p)
            real(p.grad).add_(slope.to(device=p.device, dtype=compute_dtype(real(p))) * self._z(p, draw, i))

    def _z(self, p: Tensor, draw: int, i: int) -> Tensor:
        like = real(p.detach())
        seed = hashed_seed("SPSA", self.options["seed"], draw, i)
        generator = torch.Generator(p.device).manual_seed(seed)
        given: dict[str, Any] = {"dtype": compute_dtype(like), "device": p.device, "generator": generator}
        if self.options["perturbation"] == "normal":
            return placed_like(torch.randn(like.shape, **given), like)
        return placed_like(
            torch.empty(like.shape, dtype=given["dtype"], device=p.device).bernoulli_(0.5, generator=generator) * 2 - 1,
            like,
        )

    def _single(self, loss: Any) -> Tensor:
        if isinstance(loss, Tensor) and loss.numel() == 1:
            return loss.detach().reshape(())
        raise ClosureError(
            f"{self.method.name} goes by one loss, but the closure returned {type(loss).__name__}: have it return the "
            "loss, a 0-d tensor"
        )
