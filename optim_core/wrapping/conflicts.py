"""What does not go together, refused when a wrapper is built: from what classes declare, with a remedy."""

from __future__ import annotations

from collections.abc import Mapping

from torch.optim.optimizer import Optimizer

from optim_core.catalog.needs import Need
from optim_core.errors import WrapperConflict
from optim_core.optimizers.needs import needs_of
from optim_core.optimizers.optimizer import RuleOptimizer
from optim_core.wrapping.bases import steps_of
from optim_core.wrapping.shared import Shared

#: Needs that one wrapper of a chain can have, and why not two.
_ONCE: Mapping[Need, str] = {
    "closure": "both move the weights for an evaluation elsewhere, each where the other expects them to stay",
    "multi_loss": "each make one gradient of the losses, so that one of them would have no effect",
}

#: What a plain optimizer can only be given in its own ``step(closure)``.
_IN_ITS_STEP: frozenset[Need] = frozenset({"closure", "loss", "multi_loss"})


def check_base(base: object, owner: str) -> None:
    """Refuse what cannot be wrapped.

    Raises:
        WrapperConflict: it is not an optimizer, or one that evaluates the loss in its own ``step``.
    """
    if not isinstance(base, Optimizer):
        raise WrapperConflict(
            f"{owner} goes around an optimizer, not {type(base).__name__}: build that first, such as "
            f"{owner}(torch.optim.SGD(model.parameters(), lr=0.1))"
        )
    if isinstance(base, (RuleOptimizer, Shared)):
        return
    if needs_of(base) & _IN_ITS_STEP:
        raise WrapperConflict(
            f"{owner} cannot go around {type(base).__name__}, which evaluates the loss inside its own step; use "
            f"{type(base).__name__} alone, with optim_core.minimize(optimizer, closure)"
        )


def check_inside(wrapper: Shared) -> None:
    """Refuse what a wrapper does not go with.

    Raises:
        WrapperConflict: something inside is a wrapper of the same class, has a need that the wrapper refuses, or one
            that only one wrapper can have.
    """
    name = wrapper.method.name
    for other in wrapper.inside:
        if type(other) is type(wrapper):
            raise WrapperConflict(
                f"{name} is there already, around {type(wrapper.innermost).__name__}: "
                f"{' + '.join(inner.method.name for inner in reversed(wrapper.inside))}; leave the second one out"
            )
        for need, reason in _ONCE.items():
            if need in wrapper.needs & other.needs:
                raise WrapperConflict(f"{name} and {other.method.name} {reason}: choose one")
    needs = steps_of(wrapper.innermost).needs_in_force()
    for need, reason in wrapper.refuses.items():
        if need in needs:
            raise WrapperConflict(f"{name} cannot go around {type(wrapper.innermost).__name__}, which {reason}")
        for other in wrapper.inside:
            if need in other.needs:
                raise WrapperConflict(
                    f"{name} cannot go around {other.method.name}, which {reason}; or put {name} inside it"
                )
