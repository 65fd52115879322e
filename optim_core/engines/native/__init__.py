"""The native engine: a graph as C, compiled once, one call for all tensors of a bucket."""

from optim_core.engines.native.compiler import CompilerError
from optim_core.engines.native.engine import NativeRun, obstacle, prepare

__all__ = ["CompilerError", "NativeRun", "obstacle", "prepare"]
