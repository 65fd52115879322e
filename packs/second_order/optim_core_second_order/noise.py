"""Methods that mix random numbers into what they fit."""

from __future__ import annotations

from optim_core.optimizers import RuleOptimizer

#: float32's eps: the share of g in the noise that keeps statistics from having no inverse.
RELATIVE = 2.0**-23


class WithNoise(RuleOptimizer):
    """Base of methods that draw normal noise."""

    random = True
