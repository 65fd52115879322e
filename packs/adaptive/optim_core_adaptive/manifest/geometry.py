"""Methods that scale by rows, blocks or directions instead of elements."""

from __future__ import annotations

from optim_core.catalog import OptimizerSpec, Paper

GEOMETRY = (
    OptimizerSpec(
        name="adammini",
        target="optim_core_adaptive.adammini:AdamMini",
        summary="AdamW with one second moment for a block of weights: half of Adam's memory.",
        license="Apache-2.0",
        paper=Paper(
            title="Adam-mini: Use Fewer Learning Rates To Gain More",
            url="https://arxiv.org/abs/2406.16793",
            year=2024,
        ),
        code="https://github.com/zyushun/Adam-mini",
        code_license="none found",
        needs=("named_params",),
        state={"m": "element", "vmean": "optim_core_adaptive.sizes:block"},
    ),
    OptimizerSpec(
        name="rose",
        target="optim_core_adaptive.rose:ROSE",
        summary="SGD on gradients divided by their range in each row: no state.",
        license="Apache-2.0",
        paper=Paper(
            title="Rose: Range-Of-Slice Equilibration optimizer",
            url="https://github.com/MatthewK78/Rose",
            year=2026,
        ),
        code="https://github.com/MatthewK78/Rose",
        code_license="Apache-2.0",
    ),
    OptimizerSpec(
        name="suds",
        aliases=("sudsadamw",),
        target="optim_core_adaptive.suds:SUDSAdamW",
        summary="AdamW in a basis that follows the main direction of gradients.",
        license="Apache-2.0",
        paper=Paper(
            title="HeavyBall (the library; there is no paper)",
            url="https://github.com/HomebrewML/HeavyBall",
            year=2024,
        ),
        code="https://github.com/HomebrewML/HeavyBall",
        code_license="BSD-2-Clause",
        state={"exp_avg": "element", "exp_avg_sq": "element", "fisher_approx": "element", "count": "tensor"},
    ),
)
