"""Who takes part in a step, by the options that hold for them; kept from one step to the next."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from optim_core.methods import Column, ParameterSet, is_sharded
from optim_core.optimizers import check_gradient

Options: TypeAlias = Mapping[str, Any]
#: What holds for a whole group.
Terms: TypeAlias = Callable[[Mapping[str, Any]], Options]
#: A group's parameters, with the options that tell some of them from others.
Parts: TypeAlias = Callable[[Mapping[str, Any]], Iterable[tuple[Options, Sequence[Tensor]]]]

_gradient = operator.attrgetter("grad")


class Part(ParameterSet):
    """Parameters to which the same options apply.

    Args:
        options: these.
        params: the parameters.
        sources: the groups that they are from, by position, with the options that are not the whole group's.
    """

    def __init__(self, options: Options, params: Iterable[Tensor], sources: Sequence[tuple[int, Options]]) -> None:
        self.p = Column(params)
        super().__init__(options, {})
        self._sources = sources
        self._rooms: dict[str, Column] = {}
        self._look: list[Any] | None = None
        self.begin()

    def begin(self) -> None:
        """Start a step, with the parameters and the memory that earlier ones had."""
        self.columns: dict[str, Column] = {"p": self.p, **self._rooms}

    def end(self) -> None:
        """End a step: gradients need not outlive it."""
        self.columns = {}

    def room(self, name: str, like: Iterable[Tensor]) -> Column:
        """Memory for a buffer, the same at each step."""
        if name not in self._rooms:
            self._rooms[name] = Column(map(torch.empty_like, like))
        return self._rooms[name]

    def put(self, values: Column) -> None:
        """Give the parameters other values."""
        if any(map(is_sharded, self.p)):  # which foreach does not know
            for p, x in zip(self.p, values, strict=True):
                p.copy_(x)
        else:
            torch._foreach_copy_(self.p, values)

    def gradients(self, owner: str) -> Column:
        """The gradients at hand; where there is none, there are zeros from now on.

        Raises:
            SparseGradient, UnsupportedParameter: one of them cannot be worked with.
        """
        found = self.gradients_as_before()
        if found is None:
            for p in self.p:
                check_gradient(p, owner)
            for p in self.p:
                p.grad = torch.zeros_like(p) if p.grad is None else p.grad
            found = Column(p.grad for p in self.p if p.grad is not None)
            self._look = found.layout
        return found

    def gradients_as_before(self) -> Column | None:
        """The gradients at hand, if there are all of them and each is like its last."""
        try:
            found = Column(map(_gradient, self.p))
        except (TypeError, RuntimeError):  # one is missing, or sparse
            return None
        return found if found.layout == self._look else None

    def renew(self, terms: Sequence[Options]) -> bool:
        """Take over the groups' options of the moment; False if they are not the same for all any more."""
        first, *others = ({**terms[k], **own} for k, own in self._sources)
        self.options = first
        return all(other == first for other in others)


class Crowd:
    """The parameters that a step is about.

    Args:
        groups: of the optimizer.
        terms, parts: what holds for whom.
        wanted: whether a parameter is among them.
    """

    def __init__(
        self, groups: Sequence[dict[str, Any]], terms: Terms, parts: Parts, wanted: Callable[[Tensor], bool]
    ) -> None:
        self._groups = list(groups)
        self._params = [p for group in groups for p in group["params"]]
        self._terms = list(map(terms, groups))
        together: dict[Any, tuple[Options, list[Tensor], list[tuple[int, Options]]]] = {}
        for k, group in enumerate(groups):
            for own, members in parts(group):
                options = {**self._terms[k], **own}
                _, params, sources = together.setdefault(tuple(options.items()), (options, [], []))
                params.extend(filter(wanted, members))
                sources.append((k, own))
        self.parts = [Part(*gathered) for gathered in together.values() if gathered[1]]
        present = {id(p) for part in self.parts for p in part.p}
        #: those that do not take part
        self.absent = [p for p in self._params if id(p) not in present]

    def begin(self, groups: Sequence[dict[str, Any]], terms: Terms) -> bool:
        """Start another step with those who have gradients; False if they are others, or not as they were."""
        params = [p for group in groups for p in group["params"]]
        if len(groups) != len(self._groups) or len(params) != len(self._params):
            return False
        if not (all(map(operator.is_, groups, self._groups)) and all(map(operator.is_, params, self._params))):
            return False
        if self.absent and any(p.grad is not None for p in self.absent):
            return False
        now = list(map(terms, groups))
        if now != self._terms:
            self._terms = now
            if not all(part.renew(now) for part in self.parts):
                return False
        for part in self.parts:
            gradients = part.gradients_as_before()
            if gradients is None or not part.p.is_unmoved():
                return False
            part.begin()
            part.columns["g"] = gradients
        return True
