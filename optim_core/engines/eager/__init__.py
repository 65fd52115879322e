"""The eager engine: a graph run with torch operations; always available, and the reference for the others."""

from optim_core.engines.eager.engine import EagerRun
from optim_core.engines.engine import Engine

__all__ = ["ENGINE"]

ENGINE = Engine(name="eager", start=EagerRun)
