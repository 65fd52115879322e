"""Methods whose steps grow and shrink with how the loss has gone lately."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec

EMOTIONAL = (
    OptimizerSpec(
        name="emofact",
        target="optim_core_momentum.emofact:EmoFact",
        summary="Sign descent whose steps follow from how the loss has gone lately.",
        license="Apache-2.0",
        code="https://github.com/muooon/EmoNavi",
        code_license="Apache-2.0",
        needs=("loss",),
        state={"loss": "whole", "ema_short": "whole", "ema_long": "whole"},
    ),
    OptimizerSpec(
        name="emolynx",
        target="optim_core_momentum.emolynx:EmoLynx",
        summary="Lion whose steps follow from how the loss has gone lately.",
        license="Apache-2.0",
        code="https://github.com/muooon/EmoNavi",
        code_license="Apache-2.0",
        needs=("loss",),
        state={"exp_avg": "element", "loss": "whole", "ema_short": "whole", "ema_long": "whole"},
    ),
    OptimizerSpec(
        name="emonavi",
        target="optim_core_momentum.emonavi:EmoNavi",
        summary="Adam whose steps follow from how the loss has gone lately.",
        license="Apache-2.0",
        code="https://github.com/muooon/EmoNavi",
        code_license="Apache-2.0",
        needs=("loss",),
        state={
            "exp_avg": "element",
            "exp_avg_sq": "element",
            "loss": "whole",
            "ema_short": "whole",
            "ema_long": "whole",
        },
    ),
)
