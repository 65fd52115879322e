"""Optimizers around optimizers."""

from optim_core.wrapping.offerings import offered, require
from optim_core.wrapping.steps import GRADIENTS_READY, GradientsReady
from optim_core.wrapping.transform_wrapper import TransformWrapper
from optim_core.wrapping.wrapper import Wrapper

__all__ = ["GRADIENTS_READY", "GradientsReady", "TransformWrapper", "Wrapper", "offered", "require"]
