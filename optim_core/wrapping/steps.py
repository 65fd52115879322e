"""What a wrapper asks of the optimizer inside it."""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from torch import Tensor

from optim_core.catalog.needs import Need
from optim_core.methods.formula import Formula, ParameterSet
from optim_core.optimizers.checkpoint import LoadResult, Options
from optim_core.optimizers.matching import Rename
from optim_core.rules import Level, Transform
from optim_core.rules.transform import Keeper


class GradientsReady(enum.Enum):
    """The type of :data:`GRADIENTS_READY`."""

    GRADIENTS_READY = enum.auto()

    def __repr__(self) -> str:
        return self.name


#: In the place of a closure: the gradients are prepared, so that a wrapper steps without collecting them.
GRADIENTS_READY = GradientsReady.GRADIENTS_READY


class Steps(Protocol):
    """An optimizer as the wrapper around it drives it; a wrapper is one itself."""

    def needs_in_force(self) -> frozenset[Need]:
        """The needs of a step, with the options in force."""

    @property
    def needs_graph(self) -> bool:
        """True if the next step differentiates the gradients."""

    @property
    def needs_closure(self) -> bool:
        """True if a step evaluates the loss itself, so that ``step()`` alone is not possible."""

    def collect(self, run: Callable[[], Any]) -> Any:
        """Leave the gradients of a step in the parameters; see :meth:`Wrapper.collect`."""

    def evaluate(self, closure: Callable[[], Any]) -> Any:
        """Zero gradients, evaluate the closure once, and leave gradients at the present weights."""

    def prepare(self, overflow: bool | None) -> bool:
        """Decide whether the gradients at hand make a step; see :meth:`Wrapper.prepare`."""

    def gradients_divided(self, by: Tensor | float | None) -> None:
        """Hear by what the gradients of the step to come have been divided, and their graphs not; None: unknown."""

    def step(self, closure: GradientsReady, /) -> Any:
        """Step with the gradients that are there."""

    def flushing(self) -> AbstractContextManager[bool]:
        """For the time of a ``with``, have :meth:`prepare` decide about gradients that wait for more of them.

        The ``with`` yields True if there are any.
        """

    def train(self) -> None:
        """Have the parameters hold the training point."""

    def eval(self) -> None:
        """Have the parameters hold the point for evaluation."""

    def calculate(self, formula: Formula, shares: Sequence[ParameterSet]) -> None:
        """Run a formula."""

    def add_transform(
        self, transform: Transform, *, excluded: Collection[Tensor], owner: str, keeper: Keeper | None = None
    ) -> None:
        """Let a transform act on each step, before those already there; see :meth:`Around.add`."""

    def compose(self, transform: Transform, keeper: Keeper) -> bool:
        """Compose a transform that keeps tensors with the rule; False if something here acts after the rule."""

    def reach(self, group: Mapping[str, Any], *transforms: Transform) -> Level:
        """How far what becomes of an element depends on others, with these transforms acting on each step."""

    def decays(self, group: Mapping[str, Any]) -> bool:
        """Return True if weight decay of a group acts on the parameter itself."""

    def begin(self) -> None:
        """Create all states of the parameters that have a gradient, without a step."""

    def state_of(self, p: Tensor, /) -> MutableMapping[str, Any]:
        """The state of a parameter in which wrappers keep their tensors."""

    def on_exchange(self, present: Collection[Tensor]) -> None:
        """Hear that the parameters are others than those of the last step."""

    def state_dict(self) -> dict[str, Any]:
        """The state, with all that wrappers keep."""

    def load_state_dict(
        self, state_dict: dict[str, Any], strict: bool, /, *, rename: Rename | None, options: Options | None
    ) -> LoadResult:
        """Take over a state."""
