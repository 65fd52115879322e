"""What a wrapper shares with its base, and what it passes on to it unchanged."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any, ClassVar

from torch import Tensor
from torch.optim.optimizer import Optimizer

from optim_core.catalog.needs import Need
from optim_core.errors import OptimCoreError
from optim_core.methods.formula import Formula, ParameterSet
from optim_core.methods.method import Method
from optim_core.optimizers.hosts import Hosted
from optim_core.optimizers.optimizer import RuleOptimizer
from optim_core.rules import Transform
from optim_core.rules.transform import Keeper
from optim_core.wrapping.steps import Steps


class Shared(Hosted, Optimizer):
    """An optimizer whose groups, state and defaults are those of another one, its base."""

    base: Optimizer
    options: dict[str, Any]
    stepped: bool
    #: The base as this wrapper drives it.
    base_steps: Steps
    #: The name by which saved states know this wrapper: its class's, and a number if one inside has the same.
    label: str
    _set_up: bool

    method: ClassVar[Method]
    #: Raised by the authors when what is saved changes its meaning; older versions refuse it.
    version: ClassVar[int] = 1
    #: The needs of a step of this wrapper, as in its spec; some of them only one wrapper of a chain can have.
    needs: ClassVar[frozenset[Need]] = frozenset()
    #: Needs that nothing inside may have, each with the text after "which" in the refusal: the reason and a remedy.
    refuses: ClassVar[Mapping[Need, str]] = {}
    #: True if several calls make one step.
    accumulates: ClassVar[bool] = False
    #: True if the gradients are gone after backward, which has stepped with them.
    releases: ClassVar[bool] = False
    #: True if its gradients are estimates at random, made of losses: what is exact of gradients is not of them.
    estimates: ClassVar[bool] = False
    #: True if this wrapper takes nothing from gradients, nor from weights as they are before a step.
    acts_after: ClassVar[bool] = False

    def __init__(self, base: Optimizer, base_steps: Steps) -> None:
        self.base = base
        self.base_steps = base_steps
        self._set_up = False
        namesakes = sum(wrapper.method.name == self.method.name for wrapper in self.inside)
        self.label = f"{self.method.name}{namesakes + 1}" if namesakes else self.method.name
        super().__init__(base.param_groups, base.defaults)
        self._set_up = True

    # Optimizer.__init__ and load_state_dict assign these; the base's are the only ones there are.
    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The base's groups, the very same objects."""
        return self.base.param_groups

    @param_groups.setter
    def param_groups(self, value: object) -> None:
        del value

    @property
    def state(self) -> Any:
        """The base's state."""
        return self.base.state

    @state.setter
    def state(self, value: object) -> None:
        del value

    @property
    def defaults(self) -> dict[str, Any]:
        """The base's defaults."""
        return self.base.defaults

    @defaults.setter
    def defaults(self, value: object) -> None:
        del value

    @cached_property
    def inside(self) -> tuple[Shared, ...]:
        """The wrappers inside this one, from the outside in."""
        return (self.base, *self.base.inside) if isinstance(self.base, Shared) else ()

    @cached_property
    def innermost(self) -> Optimizer:
        """The optimizer at the core of all wrappers."""
        return (self, *self.inside)[-1].base

    @property
    def kept(self) -> str:
        """What the names of all that this wrapper keeps begin with."""
        return f"{self.label}_"

    def needs_in_force(self) -> frozenset[Need]:
        """The needs of a step of this wrapper and of all inside it, with the options in force."""
        return self.needs | self.base_steps.needs_in_force()

    @property
    def needs_graph(self) -> bool:
        """True if the next step differentiates the gradients."""
        return self.base_steps.needs_graph

    @property
    def needs_closure(self) -> bool:
        """True if a step evaluates the loss itself, so that ``step()`` alone is not possible."""
        return "closure" in self.needs or self.base_steps.needs_closure

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As the base's."""
        self.base.zero_grad(set_to_none)

    def on_group(self, group: dict[str, Any]) -> None:
        """Called for each group, while its parameters have their first values."""
        del group

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group to the base, which may make several of it; all or none of them are there in the end."""
        if self._set_up:
            before = len(self.param_groups)
            try:
                self.base.add_param_group(param_group)
                for group in self.param_groups[before:]:
                    self.join_whole(group)
                    self.on_group(group)
            except OptimCoreError:
                del self.param_groups[before:]
                raise

    def name_layers(self) -> None:
        """Have groups tell what they are of: the method and the wrappers, the innermost first, with versions."""
        inner = self.innermost
        version = inner.version if isinstance(inner, RuleOptimizer) else 0
        wrappers = [(wrapper.label, wrapper.version) for wrapper in reversed((self, *self.inside))]
        for group in self.param_groups:
            group["layers"] = [(type(inner).__name__, version), *wrappers]

    def join_whole(self, group: dict[str, Any]) -> None:
        """Give a new group what wrappers keep of the model as a whole; see :mod:`optim_core.wrapping.memory`."""
        first = self.param_groups[0]
        for wrapper in (self, *self.inside):
            group |= {name: x for name, x in first.items() if name.startswith(wrapper.kept)}
        group["layers"] = first["layers"]

    def train(self) -> None:
        """Have the parameters hold the base's training point, where it has one of its own (schedule-free methods)."""
        self.base_steps.train()

    def eval(self) -> None:
        """Have the parameters hold the base's point for evaluation, where it has one of its own."""
        self.base_steps.eval()

    def flushing(self) -> AbstractContextManager[bool]:
        """For the time of a ``with``, have :meth:`prepare` decide about gradients that wait for more of them."""
        return self.base_steps.flushing()

    def gradients_divided(self, by: Tensor | float | None) -> None:
        """Hear by what the gradients of the step to come have been divided, and their graphs not; None: unknown."""
        self.base_steps.gradients_divided(by)

    def calculate(self, formula: Formula, shares: Sequence[ParameterSet]) -> None:
        """Run a formula with the engine that the innermost optimizer asks for."""
        self.base_steps.calculate(formula, shares)

    def add_transform(
        self, transform: Transform, *, excluded: Collection[Tensor], owner: str, keeper: Keeper | None = None
    ) -> None:
        """Let a transform act on each step of the innermost optimizer, before those already there.

        Args:
            transform: the transform.
            excluded: parameters that it leaves alone; more may join later, together with their group.
            owner: the wrapper that it belongs to, for messages.
            keeper: keeps its states, if it has any.
        """
        self.base_steps.add_transform(transform, excluded=excluded, owner=owner, keeper=keeper)

    def decays(self, group: Mapping[str, Any]) -> bool:
        """Return True if weight decay of a group acts on the parameter itself."""
        return self.base_steps.decays(group)

    def compose(self, transform: Transform, keeper: Keeper) -> bool:
        """Compose a transform that keeps tensors with the innermost rule.

        Returns:
            False if there is no rule, or if a wrapper may change the parameters after it, as most may.
        """
        del transform, keeper
        return False
