"""RuleWrapper: a rule around the rule of any optimizer, as a wrapper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from optim_core.errors import NotOffered
from optim_core.methods.part import Part, part_of
from optim_core.optimizers.gradients import parameters
from optim_core.optimizers.optimizer import RuleOptimizer
from optim_core.rules import GIVEN
from optim_core.rules.transform import Keeper
from optim_core.wrapping.transform_wrapper import TransformWrapper


class RuleWrapper(TransformWrapper):
    """A wrapper that is written as declarations and one rule, which calls the rule that it goes around.

    A subclass declares options and states as a method does, and has a ``rule(p, g, inner, *states, **options)``, which
    returns the new p and the new states. ``inner(p, g)`` calls what is enclosed and returns ``.p``, the new parameter;
    ``.start``, the parameter from which the update was subtracted, after decoupled decay; ``.update``, what was
    subtracted; ``.gradient``, the gradient that the innermost rule saw. Options of the base that the rule takes are
    named in :attr:`of_base`.

    States have one number per element or per tensor. As a wrapper may come around an optimizer that has stepped, a rule
    has no ``step`` and no ``first``: it keeps a count.

    Around a RuleOptimizer it is composed with the rule, and costs no pass over memory. Around any other torch optimizer
    it works on copies right before and after its step. A method can have it as a part, ``around = (around(...),)``.

    Example:
        >>> import torch
        >>> from optim_core.methods import hyper
        >>> class Halved(RuleWrapper):
        ...     factor: float = hyper(0.5, "share of the update that is made", ge=0)
        ...
        ...     @staticmethod
        ...     def rule(p, g, inner, *, factor):
        ...         moved = inner(p, g)
        ...         return moved.start - factor * moved.update
        >>> w = torch.nn.Parameter(torch.ones(2))
        >>> _ = Halved(torch.optim.SGD([w], lr=1.0)).minimize(lambda: w.sum())
        >>> w.tolist()
        [0.5, 0.5]
    """

    #: Options of the base that the rule takes, such as ``("lr",)``; every group has to have a value for each. With
    #: ``needs_rule`` also what :data:`optim_core.rules.GIVEN` lists, as the base's own rule has it.
    of_base: ClassVar[tuple[str, ...]] = ()
    #: The same of those that a base may lack: the rule gets None for them.
    asks_base: ClassVar[tuple[str, ...]] = ()
    #: Refuse a base whose rule cannot be called with other options.
    needs_rule: ClassVar[bool] = False

    rule: ClassVar[Any] = None
    states: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls.states = cls.method.states
        cls.keeps = tuple(n for n, s in cls.states.items() if s.when is None and s.copies is None)

    @property
    def uses_lr(self) -> bool:
        """True if the rule takes it."""
        return "lr" in self.of_base

    def on_wrap(self) -> None:
        """Let the rule go around that of the innermost optimizer.

        Raises:
            NotOffered: that has no rule which could be called with other options.
        """
        inner = self.innermost
        if self.needs_rule and not (isinstance(inner, RuleOptimizer) and inner.method.rule):
            raise NotOffered(
                f"{self.method.name} calls the rule inside with other options, and {type(inner).__name__} has no rule: "
                "use a method of optim-core, such as optim_core.get('adamw')"
            )
        super().on_wrap()

    def on_group(self, group: dict[str, Any]) -> None:
        """Refuse a group without an option that the rule takes.

        Raises:
            NotOffered: naming the option.
        """
        super().on_group(group)
        for name in self.of_base:
            if name not in GIVEN and group.get(name) is None:
                raise NotOffered(
                    f"{self.method.name} goes by the option {name!r}, which {type(self.innermost).__name__} does not "
                    "have, or not here"
                )

    def transform(self) -> Part:
        """The rule with the options that it has here."""
        return self.part()

    def part(self, **settled: Any) -> Part:
        """The rule with the options that it has here; ``settled`` are those that have been None so far."""
        constants = self.options | {name: x for name, x in settled.items() if self.options[name] is None}
        names = {name: name for name in (*self.of_base, *self.asks_base)}
        return part_of(type(self), apart=True, constants=constants, names=names, numbers=list(self.numbers()))

    @property
    def keeper(self) -> Keeper | None:
        """The wrapper itself."""
        return self

    def numbers(self) -> Mapping[str, float]:
        """Options that have another value in each step than the constructor has said."""
        return {}

    def begin(self) -> None:
        """Create all that is kept, here and in the base, without a step."""
        super().begin()
        #: Parameters whose states here are those of no step: what begins with their values does so at the first one.
        self.begun = WeakTensorKeyDictionary({p: True for p in parameters(self) if p.grad is not None})

    def on_loaded(self) -> None:
        """What has been loaded is not to begin anew."""
        super().on_loaded()
        self.begun = WeakTensorKeyDictionary()

    def start_memory(self, params: Sequence[Tensor]) -> None:
        """The states of the rule."""
        super().start_memory(params)
        part = self.transform()
        for p in params:
            part.begin(self.memory[p], "", p, afresh=False)
