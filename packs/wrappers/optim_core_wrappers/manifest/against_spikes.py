"""Wrappers that hold back what is far out of the usual, or not a number."""

from __future__ import annotations

from optim_core.catalog import Paper, WrapperSpec

AGAINST_SPIKES = (
    WrapperSpec(
        name="zclip",
        target="optim_core_wrappers.zclip:ZClip",
        summary="Clips the norm of all gradients where it is an outlier among those before.",
        license="Apache-2.0",
        paper=Paper(
            title="ZClip: Adaptive Spike Mitigation for LLM Pre-Training",
            url="https://arxiv.org/abs/2504.02507",
            year=2025,
        ),
        code="https://github.com/bluorion-com/ZClip",
        code_license="MIT",
    ),
    WrapperSpec(
        name="skip_nonfinite",
        aliases=("apply_if_finite",),
        target="optim_core_wrappers.skip_nonfinite:SkipNonFinite",
        summary="Leaves a step out where the loss or a gradient is not finite.",
        license="Apache-2.0",
        code="https://github.com/google-deepmind/optax",
        code_license="Apache-2.0",
    ),
)
