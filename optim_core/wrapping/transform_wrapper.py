"""TransformWrapper: a transform of gradients, parameters or updates, as a wrapper for any optimizer."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor

from optim_core.errors import SpecError, UnsupportedParameter, WrapperConflict
from optim_core.methods.declarations import REQUIRED, hyper
from optim_core.optimizers.explanation import Explanation
from optim_core.rules import Level, Transform
from optim_core.rules.transform import Keeper
from optim_core.wrapping.wrapper import Wrapper


class TransformWrapper(Wrapper):
    """A wrapper that is a :class:`~optim_core.rules.Transform`.

    Around a RuleOptimizer the transform is composed with the rule and costs no pass over memory. Around any other
    torch optimizer it works on copies right before and after its step, with the same numbers, whatever wrappers stand
    between; the user's ``p.grad`` is put back. There the base adds its own L2, so no transform sees it in the gradient;
    the update is all that the base has done to a parameter, except for decoupled weight decay where the group has
    torch's ``decoupled_weight_decay=True`` (AdamW). What acts on a denominator or a second moment works around those of
    torch's optimizers whose state tells it, and rescales the update after the step.
    """

    acts_after: ClassVar[bool] = True  # what is inside does what the transform does, or refuses it
    #: True if complex parameters are refused.
    real_only: ClassVar[bool] = False

    def excludes(self, name: str) -> bool:
        """Return True if a parameter of this name is left alone."""
        del name
        return False

    @property
    def uses_lr(self) -> bool:
        """True if the transform needs a learning rate in every group."""
        return False

    def transform(self) -> Transform:
        """The transform that the options describe."""
        raise NotImplementedError

    @property
    def keeper(self) -> Keeper | None:
        """What keeps tensors for the transform, if it needs any."""
        return None

    def on_wrap(self) -> None:
        """Let the transform act on the steps of the innermost optimizer."""
        self._excluded: set[Tensor] = set()
        super().on_wrap()
        self.base_steps.add_transform(
            self.transform(), excluded=self._excluded, owner=self.method.name, keeper=self.keeper
        )

    def on_group(self, group: dict[str, Any]) -> None:
        """Refuse what the transform makes no sense for.

        Raises:
            UnsupportedParameter: a parameter is complex.
            WrapperConflict: the group has no learning rate.
        """
        super().on_group(group)
        if self.real_only and any(p.is_complex() for p in group["params"]):
            raise UnsupportedParameter(
                f"{self.method.name} works on real parameters: keep complex ones in an optimizer of their own"
            )
        if self.uses_lr and group.get("lr") is None:
            raise WrapperConflict(
                f"{self.method.name} goes by the learning rate, but {type(self.innermost).__name__} has lr=None: give "
                "it a number"
            )
        self._excluded.update(self._excluded_of(group))

    def _excluded_of(self, group: dict[str, Any]) -> list[Tensor]:
        pairs = zip(group["params"], group.get("param_names", ()), strict=False)
        return [p for p, name in pairs if self.excludes(name)]

    def on_exchange(self, present: Collection[Tensor]) -> None:
        """Exclude those that bear the excluded names now."""
        super().on_exchange(present)
        self._excluded.clear()
        self._excluded.update(p for group in self.param_groups for p in self._excluded_of(group))

    def reach(self, group: Mapping[str, Any], *transforms: Transform) -> Level:
        """That of the transform together with all that is inside."""
        return self.base_steps.reach(group, *transforms, self.transform())

    def compose(self, transform: Transform, keeper: Keeper) -> bool:
        """As the base does: a transform does not change the parameters after the rule."""
        return self.base_steps.compose(transform, keeper)

    def explain(self) -> Explanation:
        """As every wrapper does, but without this one where a parameter is excluded."""
        rows = super().explain()
        return Explanation(
            tuple(replace(row, wrappers=row.wrappers[:-1]) if self.excludes(row.name) else row for row in rows)
        )

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_excluded": self._excluded}


@functools.cache
def wrapper_of(transform: Any) -> type[TransformWrapper]:
    """The wrapper around optimizers that a transform is: its options are the fields of the dataclass.

    Raises:
        SpecError: it is no dataclass that is a transform, or keeps tensors between steps, which needs a wrapper class.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Scaled(Transform):
        ...     by: float = 2.0
        ...
        ...     def gradient(self, g, p):
        ...         return self.by * g
        >>> wrapper_of(Scaled).__name__, list(wrapper_of(Scaled).hypers)
        ('Scaled', ['by'])
    """
    if not (isinstance(transform, type) and issubclass(transform, Transform) and dataclasses.is_dataclass(transform)):
        raise SpecError(f"{transform!r:.80} is not a frozen dataclass derived from optim_core.rules.Transform")
    if transform.keeps or transform.numbers:
        raise SpecError(f"{transform.__name__} keeps tensors or takes numbers: write a TransformWrapper for it")
    types = typing.get_type_hints(transform)
    fields = dataclasses.fields(transform)
    missing = dataclasses.MISSING
    options = {f.name: hyper(REQUIRED if f.default is missing else f.default, f"field {f.name}") for f in fields}
    body = {
        "__doc__": transform.__doc__,
        "__module__": transform.__module__,
        "__annotations__": {f.name: types[f.name] for f in fields},
        "transform": lambda self: transform(**self.options),
        "__reduce_ex__": lambda self, protocol: (_bare, (transform,), self.__getstate__()),
        **options,
    }
    return type(transform.__name__, (TransformWrapper,), body)


def _bare(transform: Any) -> TransformWrapper:
    """An empty wrapper of a transform, for pickle, which would not find the class by its name."""
    cls = wrapper_of(transform)
    return cls.__new__(cls)
