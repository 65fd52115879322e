"""The eager engine: a graph run with torch operations; always available, and the reference for the others."""

from optim_core.engines.eager.engine import EagerRun

__all__ = ["EagerRun"]
