"""Optimizers around optimizers."""

from optim_core.wrapping.offerings import offered, require
from optim_core.wrapping.transform_wrapper import TransformWrapper
from optim_core.wrapping.wrapper import GRADIENTS_READY, Wrapper

__all__ = ["GRADIENTS_READY", "TransformWrapper", "Wrapper", "offered", "require"]
