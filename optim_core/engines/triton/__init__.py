"""The Triton engine: a graph as kernels for CUDA, one launch per sweep for all tensors of a bucket."""

from optim_core.engines.engine import Engine
from optim_core.engines.triton.engine import TritonError, TritonRun, obstacle, prepare

__all__ = ["ENGINE"]

ENGINE = Engine(
    name="triton",
    start=TritonRun,
    auto_devices=frozenset({"cuda"}),
    auto_reason="one kernel for all tensors on a GPU",
    obstacle=obstacle,
    prepare=prepare,
    errors=(TritonError,),
    remedy="See whether Triton works on this machine at all",
)
