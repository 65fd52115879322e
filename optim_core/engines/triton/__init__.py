"""The Triton engine: a graph as kernels for CUDA, one launch a sweep for all tensors of a bucket."""

from optim_core.engines.triton.engine import TritonError, TritonRun, obstacle, prepare

__all__ = ["TritonError", "TritonRun", "obstacle", "prepare"]
