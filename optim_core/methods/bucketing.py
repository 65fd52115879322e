"""From tensors to buckets: each parameter gets an engine, and parameters that are alike share a bucket."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from optim_core.engines.bucket import Bucket
from optim_core.engines.choice import Choice, choose, prepare
from optim_core.engines.tensors import compute_dtype
from optim_core.rules.graph import Graph


class EngineRequest(NamedTuple):
    """The engine that an optimizer asks for.

    Attributes:
        engine: an engine's name, or ``"auto"``.
        foreach: for the eager engine, True for lists of tensors, False for tensor by tensor, None to choose.
    """

    engine: str = "auto"
    foreach: bool | None = None


def bucketed(
    graph: Graph,
    host: Mapping[str, float],
    columns: Mapping[str, Sequence[Tensor]],
    request: EngineRequest,
    elements: int,
) -> Iterator[tuple[Bucket, list[int]]]:
    """Put parameters into buckets, one for each engine and each combination of types.

    Args:
        graph: their graph.
        host: the numbers behind its HOST inputs.
        columns: one tensor per parameter for each of the graph's buffers, ``p`` in any case.
        request: the engine asked for.
        elements: the elements of all parameters of the step together.

    Returns:
        Each bucket with the positions of its parameters in the columns.

    Raises:
        EngineUnavailable: the engine asked for cannot take one of the parameters.
    """
    columns = {name: columns[name] for name in graph.access.homes}
    positions: dict[tuple[Choice, Hashable], list[int]] = defaultdict(list)
    # most parameters look like one before them, and go into the same bucket
    choices: dict[Hashable, tuple[Choice, Hashable]] = {}
    for i, row in enumerate(zip(*columns.values(), strict=True)):
        facts = tuple(map(_facts, row))
        if facts not in choices:
            tensors = dict(zip(columns, row, strict=True))
            choice = choose(*request, tensors, graph.access, compute_dtype(tensors["p"]))
            choices[facts] = choice, tuple((x.dtype, x.device) for x in row)
        positions[choices[facts]].append(i)
    for (choice, _), at in positions.items():
        buffers = {name: [column[i] for i in at] for name, column in columns.items()}
        dtype = compute_dtype(buffers["p"][0])
        bucket = Bucket(graph, host, buffers, dtype, choice.engine, choice.reason, request.foreach)
        yield prepare(bucket, request.engine, elements), at


def _facts(x: Tensor) -> Hashable:
    """All that an engine goes by."""
    return type(x), x.dtype, x.device, x.layout, x.shape, x.stride(), x.is_neg(), x.is_conj()
