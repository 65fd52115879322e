"""Formula: an expression over all parameters of an optimizer, run by the engines apart from a method's own rule."""

from __future__ import annotations

import inspect
import operator
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from optim_core.engines.bucket import Bucket
from optim_core.engines.choice import choose, prepare
from optim_core.engines.run import run
from optim_core.engines.tensors import compute_dtype, real
from optim_core.errors import RuleError
from optim_core.rules.graph import Extent, Graph
from optim_core.rules.options import scalars, split
from optim_core.rules.trace import Trace
from optim_core.rules.values import Level, Value

_kind = operator.attrgetter("__class__", "dtype")


class Column(list[Tensor]):
    """One tensor for each parameter, and how they lie in memory, looked at once.

    A formula that is given a column again trusts it: what holds one over several calls asks :meth:`stands` before each.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        super().__init__(tensors)
        #: Strides, numbers of elements, and what else must stay for an engine to work on other tensors as on these.
        self.look = [
            list(map(Tensor.stride, self)),
            list(map(Tensor.numel, self)),
            list(map(_kind, self)),
            list(map(Tensor.is_neg, self)),
        ]
        #: Where each tensor lies.
        self.places = list(map(Tensor.data_ptr, self))

    def stands(self) -> bool:
        """Whether all tensors are still where they were, and laid out as they were (types do not change in place)."""
        return (
            list(map(Tensor.data_ptr, self)) == self.places
            and list(map(Tensor.stride, self)) == self.look[0]
            and list(map(Tensor.numel, self)) == self.look[1]
        )


@dataclass(eq=False)
class ParameterSet:
    """Parameters to which the same options apply.

    Attributes:
        options: by name; numbers, switches and words as in a parameter group.
        columns: one tensor for each parameter by buffer name, ``p`` the parameters themselves.
    """

    options: Mapping[str, Any]
    columns: Mapping[str, Sequence[Tensor]]


class Formula:
    """An expression in the words of :mod:`optim_core.rules`, over all parameters.

    Like a rule it is traced once and run by an engine, one pass to write and one before it for each level of
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
        self._graphs: dict[Hashable, list[Graph]] = defaultdict(list)
        self._standing: list[_Standing] = []
        self._buckets: list[Bucket] = []
        self._asked: tuple[str, bool | None] = ("auto", None)

    def __call__(self, shares: Sequence[ParameterSet], *, engine: str = "auto", foreach: bool | None = None) -> None:
        """Compute and write.

        Args:
            shares: all parameters; buffers other than ``p`` that are written must share no memory.
            engine, foreach: as for :class:`~optim_core.RuleOptimizer`.

        Raises:
            EngineUnavailable: the engine that was asked for cannot work on these tensors.
        """
        if not self._serves(shares, (engine, foreach)):
            self._asked = (engine, foreach)
            self._standing, self._buckets = [], []  # a failure must leave nothing half assembled
            self._standing = list(self._assembled(shares))
            self._buckets = [bucket for standing in self._standing for bucket in standing.buckets]
        run(self._buckets, {})
        for bucket in self._buckets:  # tensors need not outlive the call
            bucket.buffers = {}

    def _serves(self, shares: Sequence[ParameterSet], asked: object) -> bool:
        """Whether the buckets of the last call serve again; they have the tensors at hand then."""
        return (
            asked == self._asked
            and len(shares) == len(self._standing)
            and all(map(_Standing.serves, self._standing, shares))
        )

    # assembling ---------------------------------------------------------------------------------------------
    def _assembled(self, shares: Sequence[ParameterSet]) -> Iterable[_Standing]:
        names = tuple(dict.fromkeys(("p", *self.buffers)))
        elements = sum(p.numel() for share in shares for p in share.columns["p"])
        for share in shares:
            columns = {name: Column(share.columns[name]) for name in names}
            buckets = list(self._bucketed(share.options, columns, elements=elements))
            yield _Standing(dict(share.options), self.options, columns, buckets)

    def _bucketed(
        self, options: Mapping[str, Any], columns: Mapping[str, Sequence[Tensor]], *, elements: int
    ) -> Iterable[tuple[Bucket, list[int]]]:
        host, fixed = split({name: options[name] for name in self.options})
        if any(map(Tensor.is_complex, columns["p"])):
            columns = {name: [real(x.detach()) for x in tensors] for name, tensors in columns.items()}
        together: dict[Any, list[int]] = defaultdict(list)
        graphs: dict[int, Graph] = {}
        for i, p in enumerate(columns["p"]):
            if not p.numel():
                continue
            graph = self._graph(host, fixed, p.shape)
            graphs[id(graph)] = graph
            homes = {"p": Extent(Level.ELEMENT), **graph.buffers}
            tensors = {name: columns[name][i] for name in homes}
            choice = choose(*self._asked, tensors, homes, compute_dtype(p))
            together[id(graph), choice, p.device, tuple(x.dtype for x in tensors.values())].append(i)
        for (graph_id, choice, *_), places in together.items():
            graph = graphs[graph_id]
            buffers = {name: [columns[name][i] for i in places] for name in {"p": None, **graph.buffers}}
            dtype = compute_dtype(buffers["p"][0])
            engine, foreach = self._asked
            bucket = Bucket(graph, host, buffers, dtype, choice.engine, choice.reason, foreach)
            yield prepare(bucket, engine, elements), places

    def _graph(self, host: Mapping[str, float], fixed: _Fixed, shape: Sequence[int]) -> Graph:
        known = self._graphs[fixed]
        for graph in known:
            if graph.trace.holds(host) and graph.trace.fits(shape):
                return graph
        known.append(self._traced(host, fixed, shape))
        del known[:-_KEPT]
        return known[-1]

    def _traced(self, host: Mapping[str, float], fixed: _Fixed, shape: Sequence[int]) -> Graph:
        trace = Trace(host, shape)
        options = {name: host.get(name, None) for name in self.options} | {
            name: value if value is None or isinstance(value, (bool, str)) else (0.0,) * value for name, value in fixed
        }
        named = scalars(options, trace)
        buffers = {name: trace.input(name, Level.ELEMENT) for name in self.buffers}
        outputs = {}
        for name, value in self.expression(*buffers.values(), **named).items():
            if name not in buffers:
                raise RuleError(f"{self.expression.__qualname__} returns {name!r}, which it does not take")
            new = trace.number(value) if isinstance(value, Value) else trace.constant(value)
            if new is not buffers[name]:
                outputs[name] = new
        return Graph(outputs, {}, trace, dict.fromkeys(outputs, Extent(Level.ELEMENT)))


_Fixed = tuple[tuple[str, Any], ...]
#: How many graphs are kept for one set of options.
_KEPT = 16


class _Standing:
    """What one share's buckets rest on, and the buckets, each with its parameters' positions in the share."""

    def __init__(
        self,
        options: Mapping[str, Any],
        names: Sequence[str],
        columns: Mapping[str, Column],
        buckets: list[tuple[Bucket, list[int]]],
    ) -> None:
        self._options = options
        self._names = names
        self._fixed = split({name: options[name] for name in names})[1]
        self._params = columns["p"]
        self._looks = {name: tensors.look for name, tensors in columns.items()}
        self.buckets = [bucket for bucket, _ in buckets]
        self._places = [None if len(places) == len(self._params) else places for _, places in buckets]
        # what a bucket has of complex parameters are views, made anew
        self._anew = any(map(Tensor.is_complex, self._params))

    def serves(self, share: ParameterSet) -> bool:
        """Bring numbers and tensors up to date; False if more than those has changed."""
        if self._anew or not (share.options == self._options or self._takes(share.options)):
            return False
        columns: dict[str, Column] = {}
        for name, look in self._looks.items():
            tensors = share.columns[name]
            columns[name] = tensors = tensors if isinstance(tensors, Column) else Column(tensors)
            if tensors.look is look:  # the column of the last call
                continue
            if tensors.look != look or (name == "p" and not self._are(tensors)):
                return False
            self._looks[name] = tensors.look
            for bucket, places in zip(self.buckets, self._places, strict=True):
                bucket.addresses[name] = tensors.places if places is None else [tensors.places[i] for i in places]
        for bucket, places in zip(self.buckets, self._places, strict=True):
            if places is None:
                bucket.buffers = columns
            else:
                bucket.buffers = {name: [tensors[i] for i in places] for name, tensors in columns.items()}
        return True

    def _takes(self, options: Mapping[str, Any]) -> bool:
        """Whether the same branches are taken with other options."""
        host, fixed = split({name: options[name] for name in self._names})
        if fixed != self._fixed or not all(bucket.graph.trace.holds(host) for bucket in self.buckets):
            return False
        for bucket in self.buckets:
            bucket.host = host
        self._options = dict(options)
        return True

    def _are(self, params: Column) -> bool:
        return all(map(operator.is_, params, self._params)) and params.places == self._params.places
