"""Formula: an expression over all parameters of an optimizer, run by the engines apart from a method's own rule."""

from __future__ import annotations

import functools
import inspect
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from optim_core.engines.bucket import Bucket
from optim_core.engines.run import run
from optim_core.engines.tensors import as_pairs, shape_of
from optim_core.errors import RuleError
from optim_core.methods.bucketing import EngineRequest, bucketed
from optim_core.methods.graph_cache import GraphCache, graph_fits
from optim_core.methods.reuse import AssembledSet, Column
from optim_core.rules.graph import Extent, Graph
from optim_core.rules.options import scalars, split
from optim_core.rules.trace import Trace
from optim_core.rules.values import Level, Value

logger = logging.getLogger("optim_core")


@dataclass(eq=False)
class ParameterSet:
    """Parameters to which the same options apply.

    Attributes:
        options: by name; numbers, switches and words as in a parameter group.
        columns: one tensor per parameter by buffer name, ``p`` the parameters themselves.
    """

    options: Mapping[str, Any]
    columns: Mapping[str, Sequence[Tensor]]


class Formula:
    """An expression in the words of :mod:`optim_core.rules`, over all parameters.

    Like a rule it is traced once and run by an engine, in one pass to write and one before it for each level of
    ``total``; unlike a rule it may write any of its buffers.

    Args:
        expression: takes buffers by position and options by keyword; returns the new values of those buffers that it
            writes, by name.

    Example:
        >>> import torch
        >>> from optim_core.rules import sqrt, square, total
        >>> normalise = Formula(lambda p, *, to: {"p": p * to / sqrt(total(square(p)))})
        >>> a, b = torch.tensor([3.0]), torch.tensor([4.0])
        >>> normalise([ParameterSet({"to": 10.0}, {"p": [a, b]})])
        >>> a.item(), b.item()
        (6.0, 8.0)
    """

    def __init__(self, expression: Callable[..., Mapping[str, Value | float]]) -> None:
        self.expression = expression
        parameters = inspect.signature(expression).parameters.values()
        #: names of the buffers and of the options that the expression takes
        self.buffers = tuple(q.name for q in parameters if q.kind is not q.KEYWORD_ONLY)
        self.options = tuple(q.name for q in parameters if q.kind is q.KEYWORD_ONLY)
        self._graphs = GraphCache(graph_fits)
        self._request = EngineRequest()
        self._assembled: list[AssembledSet] = []

    def __call__(self, sets: Sequence[ParameterSet], *, engine: str = "auto", foreach: bool | None = None) -> None:
        """Compute and write.

        Args:
            sets: all parameters; buffers other than ``p`` that are written must share no memory.
            engine, foreach: as for :class:`~optim_core.RuleOptimizer`.

        Raises:
            EngineUnavailable: the engine asked for cannot work on these tensors.
        """
        request = EngineRequest(engine, foreach)
        options = [{name: s.options[name] for name in self.options} for s in sets]
        columns = [{name: _column(s.columns[name]) for name in ("p", *self.buffers)} for s in sets]
        numbers = [n for n in map(AssembledSet.numbers, self._assembled, options) if n is not None]
        reason = self._reason_to_reassemble(request, numbers, columns)
        if reason is None:
            assembled = self._assembled
            for buckets, own_numbers, own_columns in zip(assembled, numbers, columns, strict=True):
                buckets.renew(own_numbers, own_columns, {})
        else:
            logger.debug("%s is assembled anew: %s", self.expression.__qualname__, reason)
            self._request, self._assembled = request, []  # a failure must leave nothing half assembled
            assembled = self._assemble(options, columns)
            if not any(p.is_complex() for own in columns for p in own["p"]):  # buckets of those hold views
                self._assembled = assembled
        run([bucket for one in assembled for bucket in one.buckets], {})
        for one in assembled:
            one.release()

    def _reason_to_reassemble(
        self,
        request: EngineRequest,
        numbers: Sequence[Mapping[str, float]],
        columns: Sequence[Mapping[str, Column]],
    ) -> str | None:
        """Return what keeps the buckets of the last call from serving again, or None."""
        if request != self._request or len(columns) != len(self._assembled):
            return "another engine is asked for, or there are other parameters"
        if len(numbers) < len(columns):
            return "the options decide a branch otherwise"
        return next(filter(None, map(AssembledSet.reason_to_reassemble, self._assembled, columns)), None)

    # assembling ---------------------------------------------------------------------------------------------
    def _assemble(
        self, options: Sequence[Mapping[str, Any]], columns: Sequence[Mapping[str, Column]]
    ) -> list[AssembledSet]:
        elements = sum(p.numel() for own in columns for p in own["p"])
        return [
            AssembledSet(own_options, own_columns, list(self._buckets(own_options, own_columns, elements)))
            for own_options, own_columns in zip(options, columns, strict=True)
        ]

    def _buckets(
        self, options: Mapping[str, Any], columns: Mapping[str, Sequence[Tensor]], elements: int
    ) -> Iterator[tuple[Bucket, list[int]]]:
        host, decisive = split(options)
        positions: dict[Graph, list[int]] = defaultdict(list)
        params = columns["p"]
        for i, p in enumerate(params):
            if p.numel():
                shape = shape_of(p)
                graph = self._graphs.get(decisive, host, shape, functools.partial(self._trace, options, host, shape))
                positions[graph].append(i)
        if any(map(Tensor.is_complex, params)):
            columns = {
                n: [as_pairs(x.detach(), p) for x, p in zip(xs, params, strict=True)] for n, xs in columns.items()
            }
        for graph, at in positions.items():
            buffers = {name: [tensors[i] for i in at] for name, tensors in columns.items()}
            for bucket, places in bucketed(graph, host, buffers, self._request, elements):
                yield bucket, [at[i] for i in places]

    def _trace(self, options: Mapping[str, Any], host: Mapping[str, float], shape: Sequence[int]) -> Graph:
        trace = Trace(host, shape)
        buffers = {name: trace.input(name, Level.ELEMENT) for name in self.buffers}
        outputs = {}
        for name, value in self.expression(*buffers.values(), **scalars(options, trace)).items():
            if name not in buffers:
                raise RuleError(f"{self.expression.__qualname__} returns {name!r}, which it does not take")
            new = trace.number(value) if isinstance(value, Value) else trace.constant(value)
            if new is not buffers[name]:
                outputs[name] = new
        return Graph(outputs, {}, trace, dict.fromkeys(outputs, Extent(Level.ELEMENT)))


def _column(tensors: Sequence[Tensor]) -> Column:
    return tensors if isinstance(tensors, Column) else Column(tensors)
