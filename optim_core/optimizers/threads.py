"""One optimizer steps in one thread at a time; several optimizers may step in several threads at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from torch.optim.optimizer import Optimizer

from optim_core.errors import ConcurrentStep

_Method = TypeVar("_Method", bound=Callable[..., Any])

#: The thread in which an optimizer steps, by the optimizer's id, for the time of the step.
_stepping: dict[int, int] = {}
# A child has none of its parent's threads but the one that forked.
os.register_at_fork(after_in_child=_stepping.clear)


def in_one_thread(method: _Method) -> _Method:
    """Let a method that is a step, or a part of one, run in one thread at a time.

    A lock would not help: what two threads share are the gradients, which one would zero under the other's hands.
    """

    @wraps(method)
    def guarded(self: Optimizer, *args: Any, **keywords: Any) -> Any:
        thread, key = threading.get_ident(), id(self)
        if _stepping.get(key) == thread:  # a step within minimize()
            return method(self, *args, **keywords)
        if _stepping.setdefault(key, thread) != thread:
            raise ConcurrentStep(
                f"{type(self).__name__} is stepping in another thread, with gradients that both threads would write: "
                "give each thread parameters and an optimizer of its own, or hold a threading.Lock around each step"
            )
        try:
            return method(self, *args, **keywords)
        finally:
            _stepping.pop(key, None)

    return guarded  # type: ignore[return-value]
