"""NumPy's forms of functions that a GPU has in its library, for Triton's interpreter, which cannot reach that."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np


def _elementwise(function: Callable[..., Any]) -> Callable[..., Any]:
    def apply(*operands: Any) -> Any:
        import triton.language as tl
        from triton.runtime.interpreter import TensorHandle

        data = function(*(x.handle.data for x in operands))
        dtype = operands[0].dtype
        is_block = any(x.type.is_block() for x in operands)
        return tl.tensor(TensorHandle(data, dtype), tl.block_type(dtype, list(data.shape)) if is_block else dtype)

    return apply


exp = _elementwise(np.exp)
log = _elementwise(np.log)
cos = _elementwise(np.cos)
tanh = _elementwise(np.tanh)
atan2 = _elementwise(np.arctan2)
pow = _elementwise(np.power)  # noqa: A001 - the library's name


def quiet() -> AbstractContextManager[Any]:
    """A context in which arithmetic gives inf and nan without a warning, as on a GPU."""
    return np.errstate(all="ignore")
