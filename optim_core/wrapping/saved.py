"""The state of a wrapper: it stands in that of its base, and is saved and loaded together with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from optim_core.errors import CheckpointMismatch
from optim_core.optimizers import checkpoint
from optim_core.optimizers.checkpoint import LoadResult, Options
from optim_core.optimizers.gradients import parameters
from optim_core.optimizers.matching import Rename, some
from optim_core.wrapping.memory import Counters, Memory
from optim_core.wrapping.shared import Shared


class Saved(Shared):
    """A wrapper whose ``memory`` and ``counters`` stand in the state and the groups of its base."""

    #: The names in ``memory`` of what each parameter with a state has: a checkpoint without them is refused.
    keeps: ClassVar[tuple[str, ...]] = ()

    @property
    def memory(self) -> Memory:
        """What is kept of single parameters: tensors of their shape, and numbers."""
        return Memory(self.kept, self.base_steps.state_of, self.param_groups)

    @property
    def counters(self) -> Counters:
        """What is kept of the model as a whole: numbers."""
        return Counters(self.kept, self.param_groups)

    def begin(self) -> None:
        """Create all that is kept of the parameters that have a gradient, here and in the base, without a step."""
        self.start_memory([p for p in parameters(self) if p.grad is not None])
        self.base_steps.begin()

    def start_memory(self, params: Sequence[Tensor]) -> None:
        """Create in ``memory``, where it is missing, what is kept of parameters from step to step.

        Called where the base has states without a step, so that a checkpoint finds the same names everywhere.
        """
        del params

    def on_group(self, group: dict[str, Any]) -> None:
        """Called for each group, while its parameters have their first values."""
        super().on_group(group)
        self.start_memory([p for p in group["params"] if self.state.get(p)])

    def state_of(self, p: Tensor) -> MutableMapping[str, Any]:
        """The state of a parameter in which wrappers keep their tensors."""
        return self.base_steps.state_of(p)

    def state_dict(self) -> dict[str, Any]:
        """The base's state dict, in which all that wrappers keep stands."""
        for prepare in self._optimizer_state_dict_pre_hooks.values():
            prepare(self)
        saved = self.base_steps.state_dict()
        for change in self._optimizer_state_dict_post_hooks.values():
            saved = change(self, saved) or saved
        return saved

    def on_loaded(self) -> None:
        """Called when a state has been taken over."""

    def load_state_dict(  # type: ignore[override]  # torch's returns nothing
        self,
        state_dict: dict[str, Any],
        strict: bool = True,
        *,
        rename: Rename | None = None,
        options: Options | None = None,
    ) -> LoadResult:
        """Take over a state, the base's and the wrapper's own; it is checked as a whole before anything is changed.

        Args:
            state_dict: what :meth:`state_dict` has returned.
            strict: False to have begin anew what the checkpoint lacks, and to leave out what does not belong here.
            rename: saved names of parameters to those they have here: a function or a mapping.
            options: whose are in force afterwards, ``"saved"`` or ``"own"``; None: the saved ones if the groups are the
                same.

        Returns:
            What was missing and what was left out, by name.

        Raises:
            CheckpointMismatch: it was saved without this wrapper, or from another model or method; nothing is
                changed then.
        """
        state_dict = checkpoint.before_loading(self, state_dict)
        missing = list(self._missing(state_dict))
        if missing and strict:
            checkpoint.check_layers(
                checkpoint.layers_of(state_dict["param_groups"]),
                checkpoint.layers_of(self.param_groups),
                type(self.innermost).__name__,
                strict=True,
            )
            raise CheckpointMismatch(
                f"{self.method.name}: the checkpoint lacks {some(missing)}: was it saved without {self.method.name}? "
                f"Load it before {self.method.name} goes around the optimizer, or let that begin anew with strict=False"
            )
        result = self.base_steps.load_state_dict(state_dict, strict, rename=rename, options=options)
        checkpoint.after_loading(self)
        self.on_loaded()
        return LoadResult([*missing, *result.missing_keys], result.unexpected_keys)

    def _missing(self, state_dict: Mapping[str, Any]) -> Iterator[str]:
        """What a saved state lacks of this wrapper."""
        first = state_dict["param_groups"][0] if state_dict["param_groups"] else {}
        yield from (self.kept + name for name in self.counters if self.kept + name not in first)
        wrappers = tuple(f"{name}_" for name, _ in checkpoint.layers_of(self.param_groups)[1:])  # those outside too
        for key, entry in state_dict["state"].items():
            present = [name for name, x in entry.items() if x is not None and not isinstance(x, dict)]
            if any(not name.startswith(wrappers) for name in present):  # the base has begun
                yield from (f"{key}.{self.kept}{name}" for name in self.keeps if self.kept + name not in present)

    def __getstate__(self) -> dict[str, Any]:
        names = ("base", "base_steps", "label", "options", "stepped", "_collected", "_set_up")
        return {name: self.__dict__[name] for name in names if name in self.__dict__}
