"""Exponential moving average of the weights."""

from __future__ import annotations

from optim_core.methods import hyper
from optim_core_wrappers.averaging import RunningAverage


class EMA(RunningAverage):
    """Keeps a running average of the weights, to evaluate with; training goes on as without it.

    After step n, with k = max(0, n - update_after_step - 1)::

        b = 0 for k = 0, so that the average begins as the weights after a first step
        b = decay, or with use_warmup max(min(1 - (1 + k/warmup_gamma)^-warmup_power, decay), min_decay)
        ema = b ema + (1 - b) p

    ``with optimizer.averaged(): ...`` has the parameters hold the average; so do :meth:`eval` until :meth:`train`.
    ``minimize`` and ``step(closure)`` go back by themselves, a bare ``step()`` in between raises. Weights and average
    are exchanged exactly, and both are part of the state dict. The average is kept in float32 for weights of lower
    precision. Buffers (statistics of batch normalisation) are the model's affair: pass some batches through it in
    train mode before validating.

    Around a RuleOptimizer the average is composed with the rule and costs no pass over memory.

    Raises:
        NotTraining: by ``step()`` while the parameters hold the average.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = EMA(torch.optim.SGD([weight], lr=0.5), decay=0.5)
        >>> for _ in range(2):
        ...     _ = optimizer.minimize(lambda: 0.5 * weight.square().sum())
        >>> with optimizer.averaged():  # of 0.5 and 0.25, the weights after the two steps
        ...     weight.item()
        0.375
        >>> weight.item()
        0.25

    Source: Polyak and Juditsky, Acceleration of Stochastic Approximation by Averaging, 1992,
    https://doi.org/10.1137/0330046; with exponential weights and a warm-up, as in timm's ModelEmaV3.
    """

    decay: float = hyper(0.9999, "share of the average that is kept in a step", ge=0, lt=1, search=(0.99, 0.9999))
    min_decay: float = hyper(0.0, "least share under warm-up", ge=0, lt=1)
    update_after_step: int = hyper(0, "steps during which the average is the weights themselves", ge=0)
    use_warmup: bool = hyper(False, "let the share grow from 0")
    warmup_gamma: float = hyper(1.0, "scale of the warm-up, in steps", gt=0)
    warmup_power: float = hyper(2 / 3, "exponent of the warm-up", gt=0)

    def share_kept(self, steps: int) -> float:
        """0 at first, then the decay, or as much of it as the warm-up has come to."""
        k = max(0, steps - self.options["update_after_step"])
        if not k or not self.options["use_warmup"]:
            return float(self.options["decay"]) if k else 0.0
        grown = 1 - (1 + k / self.options["warmup_gamma"]) ** -self.options["warmup_power"]
        return float(max(min(grown, self.options["decay"]), self.options["min_decay"]))
