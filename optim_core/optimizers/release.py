"""Steps in the middle of backward: each parameter's as soon as its gradient is there, which is dropped at once.

So there is one gradient at a time, instead of one for each parameter. What becomes of a parameter must not depend on
others then, and each backward is a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import torch
from torch import Tensor

from optim_core.engines.sharded import full_tensor
from optim_core.engines.tensors import real, total_dtype
from optim_core.errors import ClosureError, InvalidOption, UnsupportedParameter
from optim_core.methods.update import Update
from optim_core.optimizers import ranks
from optim_core.optimizers.closures import single_loss
from optim_core.optimizers.gradients import check_gradient, parameters
from optim_core.optimizers.optimizer import RuleOptimizer
from optim_core.optimizers.threads import in_one_thread
from optim_core.rules.transform import Keeper, Transform
from optim_core.rules.values import Level


class _Alone:
    """An optimizer as a step of one of its parameters sees it; see :class:`optim_core.methods.step.Stepping`."""

    def __init__(self, optimizer: RuleOptimizer, p: Tensor, group: Mapping[str, Any], number: int) -> None:
        self.optimizer, self.p, self.number = optimizer, p, number
        self.method, self.composition = optimizer.method, optimizer.composition
        self.group = group
        self.param_groups = [{**group, "params": [p]}]
        self.generator, self.checked_extras = optimizer.generator, optimizer.checked_extras
        self.update = Update(optimizer.method, optimizer.engine, optimizer.foreach)

    @property
    def state(self) -> Mapping[Tensor, Any]:
        return {self.p: self.optimizer.state[self.p]}

    @property
    def whole(self) -> Mapping[str, Any]:
        return self.optimizer.whole

    @property
    def whole_step(self) -> int:
        return self.optimizer.whole_step

    def set_whole(self, name: str, value: Any) -> None:
        if name != "whole_step":  # the model's steps are counted when all parameters have done theirs
            self.optimizer.set_whole(name, value)

    def start_state(self, p: Tensor, group: Mapping[str, Any], number: int) -> bool:
        del number
        return self.optimizer.start_state(p, group, self.number)

    def step(self, options: Mapping[str, Any]) -> None:
        """Step with the gradient at hand, the group's options and some in their place."""
        own = self.param_groups[0]
        own.update({name: x for name, x in self.group.items() if name != "params"})
        own.update(options)
        self.update.step(self)


class StepsInBackward:
    """Steps of single parameters of an optimizer.

    Args:
        optimizer: whose.
        options: for :meth:`check`, options in the place of the groups' own.

    Raises:
        UnsupportedParameter: several processes train together, which exchange gradients when all are there.
        InvalidOption: what becomes of a parameter depends on others.
    """

    def __init__(self, optimizer: RuleOptimizer, options: Mapping[str, Any] = {}) -> None:
        self.optimizer = optimizer
        self.check(options)
        self._alone: dict[Tensor, _Alone] = {}

    def check(self, options: Mapping[str, Any] = {}) -> None:
        """Refuse what cannot be done parameter by parameter."""
        optimizer, name = self.optimizer, self.optimizer.method.name
        refuse_ranks(optimizer, name)
        for group in optimizer.param_groups:
            if optimizer.reach_of_step(alone({**group, **options})) > Level.TENSOR:
                raise InvalidOption(
                    f"{name}: with these options and wrappers a parameter's step depends on others, so it cannot be "
                    "taken in the middle of backward: step when all gradients are there (backward(), then step())"
                )

    def begin(self) -> None:
        """Look up the parameters, and forget those that have left."""
        pairs = [(p, group) for group in self.optimizer.param_groups for p in group["params"]]
        known = self._alone
        self._alone = {
            p: known[p] if self._serves(known.get(p), group, k) else _Alone(self.optimizer, p, group, k)
            for k, (p, group) in enumerate(pairs)
        }

    def _serves(self, alone: _Alone | None, group: Mapping[str, Any], number: int) -> bool:
        asked = (self.optimizer.engine, self.optimizer.foreach)
        return (
            alone is not None
            and alone.group is group
            and alone.number == number
            and (alone.update.engine, alone.update.foreach) == asked
        )

    def __contains__(self, p: Tensor) -> bool:
        return p in self._alone

    @torch.no_grad()
    def step(self, p: Tensor, options: Mapping[str, Any] = {}) -> None:
        """Step with the gradient of one parameter, and drop it.

        Args:
            p: the parameter.
            options: options in the place of its group's own.
        """
        self._alone[p].step(options)
        p.grad = None

    def finish(self) -> None:
        """Count a step of the model as a whole."""
        if self.optimizer.method.counts_whole_steps:
            self.optimizer.set_whole("whole_step", self.optimizer.whole_step + 1)


def alone(group: Mapping[str, Any]) -> Mapping[str, Any]:
    """A group's entries as they bear on what steps depend on: each parameter may draw its rounding by itself."""
    return {**group, "rounding": "nearest"} if "rounding" in group else group


def refuse_ranks(optimizer: Any, name: str) -> None:
    """Refuse to step in the middle of backward where processes exchange gradients after it.

    Raises:
        UnsupportedParameter: several processes train together.
    """
    if ranks.count(optimizer) > 1:
        raise UnsupportedParameter(
            f"{name}: processes that train together exchange gradients when these are there, and a step in the middle "
            "of backward would take each process's own: step after backward(); or set optimizer.process_group = None, "
            "if each trains by itself"
        )


def hooked(params: Iterable[Tensor], hook: Callable[[Tensor], None]) -> AbstractContextManager[Any]:
    """For the time of a ``with``, call a function with each parameter whose gradient is complete."""
    stack = ExitStack()
    for p in params:
        if p.requires_grad:
            stack.callback(p.register_post_accumulate_grad_hook(hook).remove)  # type: ignore[no-untyped-call]
    return stack


class FusedBackward(RuleOptimizer):
    """Base of the methods that step in the middle of backward, for the memory that gradients take otherwise.

    ``optimizer.fused_backward(loss)`` is ``backward()`` and ``step()`` in one, and leaves no gradient. The usual ways
    work too, and have all gradients at once. The norm of these is not known in the middle of backward, so with
    ``clip_grad_norm`` it takes two::

        optimizer.grad_norm(loss_function(...))        # measures, and changes nothing
        optimizer.fused_backward(loss_function(...))   # the same loss, evaluated again

    Elements are held within ``clip_grad_value`` first, then all are multiplied by
    min(1, clip_grad_norm / (norm + 1e-6)); the norm is that of the gradients before. In ``fused_backward`` gradients
    cannot accumulate, no GradScaler can be used, and it is refused where ranks train together.

    A subclass declares both options, and its rule holds elements within clip_grad_value.
    """

    def forget(self) -> None:
        """Drop what has been measured."""
        super().forget()
        self._norm: float | None = None
        self._steps: StepsInBackward | None = None

    def add_transform(
        self, transform: Transform, keeper: Keeper | None = None, *, excluded: Collection[Tensor] = ()
    ) -> None:
        """Compose a transform with the rule; steps in the middle of backward are looked at anew."""
        super().add_transform(transform, keeper, excluded=excluded)
        self._steps = None

    def reach_of_step(self, group: Mapping[str, Any], *transforms: Transform) -> Level:
        """As everywhere; the norm is that of all gradients."""
        return Level.WHOLE if group["clip_grad_norm"] is not None else super().reach_of_step(group, *transforms)

    @property
    def clips_norm(self) -> bool:
        """True if ``grad_norm(loss)`` comes before ``fused_backward(loss)``."""
        return self.param_groups[0]["clip_grad_norm"] is not None

    @property
    def _step_supports_amp_scaling(self) -> bool:
        return not self.clips_norm

    # all gradients at once ------------------------------------------------------------------------------------
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters from their gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = self.collect(closure)
        if not self.clips_norm:
            super().step()
            return loss
        own = [(p, p.grad) for p in parameters(self) if p.grad is not None]
        for p, _ in own:
            check_gradient(p, self.method.name)
        factor = self._factor(_norm([gradient for _, gradient in own]))
        try:
            for p, gradient in own:
                p.grad = self._clipped(gradient.detach().clone(), factor)
            super().step()
        finally:
            for p, gradient in own:
                p.grad = gradient
        return loss

    def _factor(self, norm: float) -> float:
        return min(1.0, float(self.param_groups[0]["clip_grad_norm"]) / (norm + 1e-6))

    def _clipped(self, gradient: Tensor, factor: float) -> Tensor:
        """A gradient clipped in place."""
        bound = self.param_groups[0]["clip_grad_value"]
        if bound is not None:
            real(gradient).clamp_(-bound, bound)
        return gradient.mul_(factor)

    # one at a time --------------------------------------------------------------------------------------------
    def grad_norm(self, loss: Tensor) -> float:
        """Backward that measures the norm of all gradients, for the next ``fused_backward``, and drops them.

        Returns:
            The norm.

        Raises:
            ClosureError: there is no loss, or no parameter in it.
        """
        self.zero_grad()
        norms: list[float] = []

        def measure(p: Tensor) -> None:
            norms.append(_norm([p.grad]))
            p.grad = None

        with hooked(parameters(self), measure):
            single_loss(loss, self).backward()  # type: ignore[no-untyped-call]
        if not norms:
            raise ClosureError(f"{self.method.name}.grad_norm(loss) found no gradient: no parameter is in the loss")
        self._norm = math.hypot(*norms)
        return self._norm

    @in_one_thread
    def fused_backward(self, loss: Tensor, lr: float | None = None) -> None:
        """Backward, in which each parameter steps as soon as its gradient is there; none is left.

        Args:
            loss: differentiated.
            lr: if given, that of all groups from now on.

        Raises:
            ClosureError: there is no loss; or with clip_grad_norm, no ``grad_norm(loss)`` since the last step.
            UnsupportedParameter, InvalidOption: a step depends on more than one parameter of one process.
        """
        loss = single_loss(loss, self)
        if self.clips_norm and self._norm is None:
            raise ClosureError(
                f"{self.method.name}: clip_grad_norm needs the norm of all gradients: call grad_norm(loss) before "
                "each fused_backward(loss), or step after backward()"
            )
        for group in self.param_groups if lr is not None else ():
            group["lr"] = self.hypers["lr"].check(lr, self.method.name)
        steps = self._steps = self._steps or StepsInBackward(self, {"clip_grad_norm": None})
        steps.begin()
        self.zero_grad()
        factor = None if self._norm is None else self._factor(self._norm)

        def step(p: Tensor) -> None:
            if factor is not None and p.grad is not None:
                self._clipped(p.grad, factor)
            steps.step(p)

        with hooked(parameters(self), step):
            loss.backward()  # type: ignore[no-untyped-call]
        self._norm = None
        steps.finish()


def _norm(gradients: Iterable[Tensor | None]) -> float:
    """The norm of gradients together."""
    found = [g.detach() for g in gradients if g is not None]
    norms = [full_tensor(torch.linalg.vector_norm(real(g), dtype=total_dtype(g.device))) for g in found]
    return math.hypot(*(float(x) for x in norms))
