"""The native engine: a graph as C, compiled once, one call for all tensors of a bucket."""

from optim_core.engines.engine import Engine
from optim_core.engines.native.compiler import CompilerError
from optim_core.engines.native.engine import NativeRun, obstacle, prepare

__all__ = ["ENGINE"]

ENGINE = Engine(
    name="native",
    start=NativeRun,
    auto_devices=frozenset({"cpu"}),
    auto_reason="the fastest on a CPU",
    obstacle=obstacle,
    prepare=prepare,
    errors=(CompilerError,),
    remedy="Set CC to a working C compiler",
)
