"""Functions of stacks: the part of a rule that is not arithmetic on elements, such as a product of matrices."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from optim_core.errors import RuleError
from optim_core.rules.values import Level, Value

_LEVELS = {"element": Level.ELEMENT, "own": Level.OWN}


def stacked(*returns: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let a rule call a function of torch tensors.

    The rule stays one traced expression: what surrounds the call runs in the engines, its arguments are computed
    right into a stack, and parameters of one shape share a call. The function takes by position

    * a stack (B, ...) of tensors of the parameter's shape for a value of the rule, whose memory it leaves alone,
    * a stack (B, ...), or a list of them, for a state with a ``shape`` of its own,
    * None for a state that the parameter does not have,

    and by keyword numbers and plain values. Called with tensors it works as written.

    Args:
        returns: for each result ``"element"``, a stack of the parameter's shape, or ``"own"``, new values of a state
            with a shape of its own (or of something that only functions of stacks see); or the name of an argument,
            a state whose new values it is, and which for some parameters may have the parameter's own shape.

    Example:
        >>> import torch
        >>> from optim_core import RuleOptimizer, hyper
        >>> @stacked("element")
        ... def orthogonal(g):
        ...     U, _, V = torch.linalg.svd(g, full_matrices=False)
        ...     return U @ V
        >>> class Orthogonal(RuleOptimizer):
        ...     lr: float = hyper(0.1, "step size", ge=0)
        ...
        ...     @staticmethod
        ...     def rule(p, g, *, lr):
        ...         return p - lr * orthogonal(g)
        >>> w = torch.nn.Parameter(2 * torch.eye(2))
        >>> loss = Orthogonal([w], lr=0.5).minimize(lambda: w.square().sum())
        >>> torch.allclose(w, 1.5 * torch.eye(2))
        True
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        names = list(inspect.signature(function).parameters)
        unknown = set(returns) - {*_LEVELS, *names}
        if unknown:
            raise RuleError(
                f"stacked: {function.__qualname__} returns {unknown.pop()!r}, which is neither 'element' nor 'own' nor "
                f"one of its arguments ({', '.join(names)})"
            )

        @wraps(function)
        def call(*tensors: Any, **numbers: Any) -> Any:
            for x in tensors:
                if isinstance(x, Value):
                    levels = [_level(kind, names, tensors) for kind in returns]
                    results = x.trace.call(function, levels, tensors, numbers)
                    return results if len(results) > 1 else results[0]
            return function(*tensors, **numbers)

        return call

    return decorate


def _level(kind: str, names: Sequence[str], tensors: Sequence[Any]) -> Level:
    """The level of a result: of this kind, or that of the argument of this name."""
    if kind in _LEVELS:
        return _LEVELS[kind]
    like = tensors[names.index(kind)]
    return like.level if isinstance(like, Value) else Level.OWN
