"""Optimizers around optimizers."""

from optim_core.wrapping.offerings import offered, require
from optim_core.wrapping.rule_wrapper import RuleWrapper
from optim_core.wrapping.steps import GRADIENTS_READY, GradientsReady
from optim_core.wrapping.transform_wrapper import TransformWrapper
from optim_core.wrapping.wrapper import Wrapper

__all__ = [
    "GRADIENTS_READY",
    "GradientsReady",
    "RuleWrapper",
    "TransformWrapper",
    "Wrapper",
    "offered",
    "require",
]
