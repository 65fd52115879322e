"""What EmoNavi, EmoFact and EmoLynx share: a drive that follows from how the loss has gone lately."""

from __future__ import annotations

from typing import NamedTuple

from optim_core import state
from optim_core.optimizers import LossValue
from optim_core.rules import Value, lerp, maximum, tanh, where


class Drive(NamedTuple):
    """What the loss makes of a step.

    Attributes:
        short, long: averages of the loss.
        trust: 1 while the loss is steady, 0 where it has changed altogether.
        size: what multiplies lr.
        alarmed: whether the weights are pulled to their shadow.
    """

    short: Value
    long: Value
    trust: Value
    size: Value
    alarmed: Value

    @classmethod
    def of(cls, loss: Value, short: Value, long: Value, *, whole_step: Value, maximize: bool) -> Drive:
        """The drive of a step."""
        loss = -loss if maximize else loss
        short, long = (loss, loss) if whole_step == 1 else (lerp(loss, short, 0.7), lerp(loss, long, 0.99))
        s = tanh((long - short) / maximum(long, 1e-5))
        trust = 1 - abs(s)
        keen = 8 * trust * (1 + 0.1 * trust * where(s >= 0, 1.0, -1.0))
        size = where((abs(s) > 0.25) & (abs(s) < 0.5), keen, where(abs(s) > 0.75, trust, 1.0))
        return cls(short, long, trust, size, abs(s) > 0.625)

    def pulled(self, p: Value, shadow: Value | None, *, lr: Value) -> tuple[Value, Value | None]:
        """The weights where the shadow pulls them, and the shadow after them."""
        if shadow is None:
            return p, None
        followed = shadow + 0.1 * self.trust * (p - shadow)
        pulled = where(self.alarmed, (1 - self.trust) * p + self.trust * shadow, p) if lr else p
        return pulled, where(self.alarmed, shadow, followed)


class Emotional(LossValue):
    """Base of the methods whose steps grow and shrink with how the loss has gone lately.

    With f the loss, two averages of it, both f in the first step, and per step one number s between -1 and 1::

        a = 0.7 a + 0.3 f,   b = 0.99 b + 0.01 f
        s = tanh((b - a) / max(b, 1e-5)),   T = 1 - |s|
        d = 8 T (1 + 0.1 T sign(s))    for 0.25 < |s| < 0.5
            T                          for 0.75 < |s|
            1                          otherwise

    d multiplies lr. **It jumps**: just above 0.25 steps are about 6 times longer. The loss has to be positive: around
    0, and below, s is 1 or -1 and everything stands still. With use_shadow a slow copy c of the weights comes first::

        p = (1 - T) p + T c            for 0.625 < |s|
        c = c + 0.1 T (p - c)          otherwise

    The authors' code compares two quotients that are equal but for rounding, and then takes the average of one or
    another length; here it is always b. Their signal to stop early is left out.

    The loss is handed over as :class:`~optim_core.optimizers.LossValue` tells.
    """

    ema_short = state("a, quick average of the loss", level="whole")
    ema_long = state("b, slow average of the loss", level="whole")
    shadow = state("c, slow copy of the weights", start="p", when=lambda group: bool(group["use_shadow"]))
