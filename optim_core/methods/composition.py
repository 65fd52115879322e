"""The transforms composed with an optimizer's rule: which parameters each leaves alone, and what each keeps."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Mapping, MutableMapping
from typing import Any

from torch import Tensor

from optim_core.methods.part import Part
from optim_core.methods.states import memory_dtype
from optim_core.rules.transform import Attachment, Keeper, Transform, qualified, transforms_for


class WeakKeeper:
    """A keeper that goes when nobody else has it: it is a wrapper, which holds the optimizer that it keeps for.

    Once it has gone, the transform is computed with the last numbers.
    """

    def __init__(self, keeper: Keeper) -> None:
        self._keeper: Callable[[], Keeper | None] = weakref.ref(keeper)
        self.kept = keeper.kept
        self._numbers = dict(keeper.numbers())

    def numbers(self) -> Mapping[str, float]:
        """The keeper's."""
        keeper = self._keeper()
        if keeper is not None:
            self._numbers = dict(keeper.numbers())
        return self._numbers

    def begins_with(self, p: Tensor) -> bool:
        """Return True, once, if what is kept of a parameter was created without a step."""
        begun: Any = getattr(self._keeper(), "begun", {})
        return p in begun and begun.pop(p)

    def __getstate__(self) -> dict[str, Any]:
        return {"keeper": self._keeper(), "kept": self.kept, "numbers": self._numbers}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._keeper = (lambda: None) if state["keeper"] is None else weakref.ref(state["keeper"])
        self.kept, self._numbers = state["kept"], state["numbers"]


class Composition:
    """Transforms in the order in which a gradient passes them; each is known by its position."""

    def __init__(self) -> None:
        self._attachments: tuple[Attachment, ...] = ()

    def add(self, transform: Transform, keeper: Keeper | None = None, excluded: Collection[Tensor] = ()) -> None:
        """Compose a transform; a gradient passes it before those already there.

        Args:
            transform: what to compose.
            keeper: keeps the transform's tensors, and has its numbers.
            excluded: parameters that it leaves alone; more may join later, together with their group.

        Raises:
            RuleError: the transform keeps tensors or takes numbers, and there is no keeper.
        """
        weak = None if keeper is None else WeakKeeper(keeper)
        self._attachments = (Attachment(transform, excluded, weak), *self._attachments)

    @property
    def transforms(self) -> tuple[Transform, ...]:
        """All of them."""
        return tuple(attachment.transform for attachment in self._attachments)

    def acting_on(self, p: Tensor) -> tuple[Transform, ...]:
        """Those that act on a parameter, by position; the identity stands for one that leaves it alone."""
        return transforms_for(self._attachments, p)

    @property
    def kept(self) -> tuple[str, ...]:
        """By position, what the names of what a transform keeps among the states of a parameter begin with."""
        return tuple("" if a.keeper is None else a.keeper.kept for a in self._attachments)

    def begin(self, states: MutableMapping[str, Any], p: Tensor) -> None:
        """Create what transforms keep for a parameter among its states."""
        for kept, attachment in zip(self.kept, self._attachments, strict=True):
            if p in attachment.excluded:
                continue
            if isinstance(attachment.transform, Part):
                attachment.transform.begin(states, kept, p, afresh=not states.get("step"))
            for name in attachment.transform.keeps:
                if kept + name not in states:
                    states[kept + name] = p.detach().to(memory_dtype(p), copy=True)

    def numbers(self) -> dict[str, float]:
        """The numbers of this step that transforms take beside the method's options."""
        return {
            qualified(position, name): number
            for position, attachment in enumerate(self._attachments)
            if attachment.keeper is not None
            for name, number in attachment.keeper.numbers().items()
        }
