"""A cosine between two values of any option."""

from __future__ import annotations

from optim_core.methods import REQUIRED, hyper
from optim_core.schedules import Rate, Schedule
from optim_core_schedulers.schedule import CURVES


class CosineOption(Schedule):
    """An option other than lr along half a cosine from one value to another, up or down: by default the weight decay.

    ::

        value at step n, with t = n - 1, W = warmup_steps and N = total_steps:
        warmup_start + (start - warmup_start) t/(W - 1)                t < W
        end + (start - end) (1 + cos(pi (t - W)/(N - W)))/2            W <= t < N
        end                                                            after it, where the authors' table ends

    The warm-up reaches ``start`` in its last step, and the cosine begins with it again. Values are absolute, but a
    group whose own value is 0 stays there beside others whose is not: biases without decay. Any other schedule does
    the same relative to each group's own value: ``get_scheduler("cosine")(optimizer, option="weight_decay", ...)``.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], weight_decay=0.04)
        >>> scheduler = CosineOption(optimizer, start=0.04, end=0.4, total_steps=4)
        >>> for _ in range(5):
        ...     print(round(optimizer.param_groups[0]["weight_decay"], 3), end=" ")
        ...     optimizer.step()
        ...     scheduler.step()
        0.04 0.093 0.22 0.347 0.4

    Source: Caron et al., Emerging Properties in Self-Supervised Vision Transformers, 2021,
    https://arxiv.org/abs/2104.14294, and the authors' code.
    """

    needs = frozenset({"total_steps"})
    sets = "weight_decay"

    start: float = hyper(REQUIRED, "value at the start of the cosine")
    end: float = hyper(REQUIRED, "value at its end and from then on")
    total_steps: int = hyper(REQUIRED, "steps of the whole, the warm-up included", ge=1)
    warmup_steps: int = hyper(0, "steps of the warm-up", ge=0)
    warmup_start: float = hyper(0.0, "value of the first step of the warm-up")

    def check(self) -> None:
        """Refuse a warm-up that leaves nothing of the whole."""
        super().check()
        if self.warmup_steps >= self.total_steps:
            raise self.reject(
                f"warmup_steps={self.warmup_steps} leaves nothing of total_steps={self.total_steps}: shorten it"
            )

    def rate(self, t: int, lr: Rate, k: int) -> Rate:
        """The value, or 0 in a group of which it is left out."""
        del k
        return 0.0 if float(lr) == 0 and any(map(float, self.base_lrs)) else self._value(t)

    def _value(self, t: int) -> float:
        if t < self.warmup_steps:
            return self.warmup_start + (self.start - self.warmup_start) * t / max(1, self.warmup_steps - 1)
        left = CURVES["cosine"](min(1.0, (t - self.warmup_steps) / (self.total_steps - self.warmup_steps)))
        return self.start * left + self.end * (1 - left)
