"""Other ways to the place nearby where the gradient is taken."""

from __future__ import annotations

from optim_core.catalog import Paper, WrapperSpec

EXCURSIONS = (
    WrapperSpec(
        name="friendlysam",
        aliases=("fsam",),
        target="optim_core_sharpness.friendlysam:FriendlySAM",
        summary="SAM that goes by what is new in each gradient, and leaves out what batches have in common.",
        license="Apache-2.0",
        paper=Paper(
            title="Friendly Sharpness-Aware Minimization",
            url="https://arxiv.org/abs/2403.12350",
            year=2024,
        ),
        code="https://github.com/nblt/F-SAM",
        code_license="none found",
        needs=("closure",),
    ),
)
