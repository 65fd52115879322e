"""Cycles after one warm-up, in timm's terms: the base of cosine_cycles and tanh."""

from __future__ import annotations

from optim_core.methods import REQUIRED, hyper
from optim_core.schedules import Rate, Schedule, of_group


class Cycles(Schedule):
    """Cycles between the group's lr and a lowest one; subclasses give their :meth:`share`."""

    t_initial: int = hyper(REQUIRED, "steps of the first cycle", ge=1)
    lr_min: float | tuple[float, ...] = hyper(0.0, "lowest lr; may differ by group", ge=0)
    cycle_mul: float = hyper(1.0, "growth of the length from cycle to cycle", gt=0)
    cycle_decay: float = hyper(1.0, "factor of the highest lr from cycle to cycle", gt=0)
    cycle_limit: int = hyper(1, "cycles before lr_min is held", ge=1)
    warmup_t: int = hyper(0, "steps of the warm-up", ge=0)
    warmup_lr_init: float = hyper(0.0, "lr of the first step of the warm-up", ge=0)
    warmup_prefix: bool = hyper(False, "begin the cycles after the warm-up, not underneath it")

    def rate(self, t: int, lr: Rate, k: int) -> Rate:
        """Up, or the rate within a cycle."""
        if t < self.warmup_t:
            return self.warmup_lr_init + (self.warmup_end(lr, k) - self.warmup_lr_init) * t / self.warmup_t
        return self.cycled(t - self.warmup_t if self.warmup_prefix else t, lr, k)

    def warmup_end(self, lr: Rate, k: int) -> Rate:
        """Where the warm-up leads to."""
        del k
        return lr

    def cycled(self, t: int, lr: Rate, k: int) -> Rate:
        """The rate t steps after the first cycle began."""
        low: float = of_group(self.lr_min, k)
        place = self._place(t)
        if place is None:
            return low
        cycle, share = place
        return low + (lr * self.cycle_decay**cycle - low) * self.share(share)

    def share(self, q: float) -> float:
        """How much of the way between lowest and highest lr is left when a share q of the cycle lies behind."""
        raise NotImplementedError

    def _place(self, t: int) -> tuple[int, float] | None:
        """Number of the cycle, and how much of it lies behind; None after the last.

        Lengths are summed up, since a logarithm misses whole borders by its rounding.
        """
        begin = 0.0
        for cycle in range(self.cycle_limit):
            length = self.t_initial * self.cycle_mul**cycle
            if t < begin + length:
                return cycle, (t - begin) / length
            begin += length
        return None
