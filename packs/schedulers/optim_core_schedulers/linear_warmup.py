"""Linear warm-up."""

from __future__ import annotations

from optim_core.methods import hyper
from optim_core.schedules import of_group
from optim_core_schedulers.over import Warmup
from optim_core_schedulers.ranger21 import warmup_length


class LinearWarmup(Warmup):
    """Linear warm-up over a number of steps, alone or over another schedule.

    ::

        lr at step n = (lr of the other schedule at step n, or the base lr) times min(1, n/W)

    W is ``warmup_steps``. With ``variant="ranger21"`` it may be left out, and is then as in that optimizer:
    ceil(2/(1 - beta2)), or int(0.22 T) if that is more than 0.45 T, T = ``total_steps``. The first step has 1/W of the
    rate, where the schedules with a warm-up of their own, such as :class:`CosineScheduler`, begin at 0 and are at the
    top one step later. Step this scheduler only, and give it the other one, as in :class:`UntunedLinearWarmup`.

    Example:
        >>> import torch
        >>> sgd = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        >>> cosine = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, T_max=8)
        >>> scheduler = LinearWarmup(sgd, warmup_steps=4, lr_scheduler=cosine)
        >>> for _ in range(6):
        ...     print(round(sgd.param_groups[0]["lr"], 3), end=" ")
        ...     sgd.step()
        ...     scheduler.step()
        0.25 0.481 0.64 0.691 0.5 0.309

    Source: Ma and Yarats, On the adequacy of untuned warmup for adaptive optimization, 2019,
    https://arxiv.org/abs/1910.04209; "ranger21": Wright and Demeure, Ranger21: a synergistic deep learning optimizer,
    2021, https://arxiv.org/abs/2106.13731.
    """

    warmup_steps: int | tuple[int, ...] | None = hyper(None, "W, needed by 'plain'; may differ by group", ge=1)
    variant: str = hyper("plain", "where W may come from", choices=("plain", "ranger21"))
    total_steps: int | None = hyper(None, "'ranger21' only: T", ge=1)
    beta2: float | None = hyper(None, "'ranger21' only; None: from each group's betas", ge=0, lt=1)

    def check(self) -> None:
        """Refuse what leaves W open, and options that would not count."""
        automatic = self.variant == "ranger21" and self.warmup_steps is None
        if self.variant == "plain" and self.warmup_steps is None:
            raise self.reject("give warmup_steps=..., or take untuned_linear_warmup, which finds it from beta2")
        if automatic and self.total_steps is None:
            raise self.reject("variant='ranger21' needs total_steps=..., or warmup_steps=...")
        for name in ("total_steps", "beta2"):
            if getattr(self, name) is not None and not automatic:
                raise self.reject(f"{name} is for variant='ranger21' without warmup_steps: leave it out")
        super().check()

    def factor(self, n: int, k: int) -> float:
        """A line up to 1."""
        return min(1.0, n / self._length(k))

    def _length(self, k: int) -> int:
        if self.warmup_steps is not None or self.total_steps is None:
            return int(of_group(self.warmup_steps, k))
        remedy = "pass beta2=0.999 (or what fits), or warmup_steps"
        return warmup_length(self.second_beta(k, remedy) if self.beta2 is None else self.beta2, self.total_steps)
