"""Gradient release: steps in the middle of backward."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from optim_core.catalog import Need
from optim_core.errors import ClosureError, WrapperConflict
from optim_core.methods import hyper
from optim_core.optimizers import RuleOptimizer, StepsInBackward, alone, parameters, refuse_ranks
from optim_core.rules import Level, Transform
from optim_core.wrapping import TransformWrapper, Wrapper


class GradientRelease(Wrapper):
    """Steps each parameter in the middle of backward, as soon as its gradient is there, and drops the gradient.

    So there is one gradient at a time, instead of one for each parameter; the numbers are those of the ordinary loop,
    which stays as it is::

        loss_function(model(x), y).backward()       # steps
        optimizer.step()                            # ends the step: counts it, and lets wrappers around this act
        optimizer.zero_grad()                       # finds nothing

    Each ``backward()`` is a step, and ``step()`` comes before the next. So gradients cannot accumulate, and
    ``GradScaler`` cannot be used (bfloat16 needs none). With ``optimizer_accumulation=k`` every k-th backward moves the
    weights, and the others only enter the averages of the method (they are steps with lr = 0): not the same as the
    average of the gradients.

    Around methods of this library and torch's, with or without transforms, as far as a parameter's step does not depend
    on others. EMA can go around it; what takes gradients, or weights as they are before a step, cannot. Refused where
    several processes train together: they exchange gradients when these are there.

    A weight that is needed again in the same backward after its gradient is complete would be found changed; ordinary
    layers, shared weights and checkpointed activations have none. ``release_hooks()`` takes the hooks away: the
    ordinary loop from then on.

    Raises:
        WrapperConflict: the base, or what is around it, needs all gradients together.
        UnsupportedParameter: several processes train together.
        ClosureError: in a second backward before ``step()``; and with GradScaler.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = GradientRelease(torch.optim.SGD([weight], lr=0.25))
        >>> weight.square().sum().backward()
        >>> weight.tolist(), weight.grad
        ([0.5], None)
        >>> optimizer.step()

    Source: How to save memory by fusing the optimizer step into the backward pass, PyTorch tutorial, 2023,
    https://pytorch.org/tutorials/intermediate/optimizer_step_in_backward_tutorial.html; optimizer_accumulation as in
    optimi.
    """

    optimizer_accumulation: int = hyper(1, "backward passes of which the last moves the weights", ge=1)

    elementwise: ClassVar[bool] = True
    releases: ClassVar[bool] = True
    refuses: ClassVar[Mapping[Need, str]] = {
        "closure": "evaluates the loss more than once a step",
        "create_graph": "differentiates the gradients",
        "loss": "needs the value of the loss before it steps",
        "multi_loss": "makes one gradient of several losses",
    }

    def on_wrap(self) -> None:
        """Put the hooks in place."""
        refuse_ranks(self, self.method.name)
        for wrapper in self.inside:
            if not isinstance(wrapper, TransformWrapper):
                raise WrapperConflict(
                    f"{self.method.name} cannot go around {wrapper.method.name}, which acts on steps as a whole: put "
                    f"{wrapper.method.name} around {self.method.name}"
                )
        inner = self.innermost
        if not isinstance(inner, RuleOptimizer) and not type(inner).__module__.startswith("torch.optim"):
            raise WrapperConflict(
                f"{self.method.name} does not know whether {type(inner).__name__} takes each parameter by itself: use "
                "a method of optim-core, or of torch"
            )
        self.counters["passes"] = 0
        self._hooks: Any = WeakTensorKeyDictionary()
        super().on_wrap()
        self._reset()

    def _reset(self) -> None:
        #: the parameters that have stepped in the backward under way
        self._stepped_alone: set[Tensor] = set()
        self._present_now: set[Tensor] = set()
        inner = self.innermost
        self._steps = StepsInBackward(inner) if isinstance(inner, RuleOptimizer) else None

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._reset()
        self._hooks = WeakTensorKeyDictionary()
        for group in self.param_groups:
            self._hook(group["params"])

    def on_group(self, group: dict[str, Any]) -> None:
        """Put hooks on the group's parameters."""
        super().on_group(group)
        self._check_reach(group)
        self._hook(group["params"])

    def _check_reach(self, group: Mapping[str, Any], *transforms: Transform) -> None:
        inner = self.innermost
        if isinstance(inner, RuleOptimizer):
            reach = inner.reach_of_step(alone(group), *transforms)
        else:
            reach = self.base_steps.reach(group, *transforms)
        if reach > Level.TENSOR:
            what = " with ".join([type(inner).__name__, *(type(transform).__name__ for transform in transforms)])
            raise WrapperConflict(
                f"{self.method.name} cannot go around {what}, which needs the gradients of all parameters together: "
                "leave one of them out"
            )

    def add_transform(
        self, transform: Transform, *, excluded: Collection[Tensor], owner: str, keeper: Any = None
    ) -> None:
        """Refuse a transform that sums over all parameters."""
        for group in self.param_groups:
            self._check_reach(group, transform)
        super().add_transform(transform, excluded=excluded, owner=owner, keeper=keeper)

    def evaluate(self, closure: Callable[[], Any]) -> Any:
        """One backward, with the whole loss."""

        def whole() -> Any:
            loss = closure()
            if isinstance(loss, Iterator):
                raise ClosureError(
                    f"{self.method.name}: a loss in parts takes several backward passes, and the first one would move "
                    "the weights: have the closure return the loss as a whole, or leave this wrapper out"
                )
            return loss

        return super().evaluate(whole)

    # hooks ------------------------------------------------------------------------------------------------------
    def _hook(self, params: Collection[Tensor]) -> None:
        mine = weakref.ref(self)

        def release(p: Tensor) -> None:
            optimizer = mine()
            if optimizer is not None:
                optimizer._release(p)

        for p in params:
            if p.requires_grad and p.is_leaf and p not in self._hooks:
                self._hooks[p] = p.register_post_accumulate_grad_hook(release)  # type: ignore[no-untyped-call]

    def release_hooks(self) -> None:
        """Take the hooks away; gradients stay until ``step()`` then."""
        for handle in self._hooks.values():
            handle.remove()
        self._hooks.clear()

    def _release(self, p: Tensor) -> None:
        if p in self._stepped_alone:
            raise ClosureError(
                f"{self.method.name}: a second backward() before step(), and the first one has moved the weights: call "
                "optimizer.step() after each, and add the losses up; gradients cannot accumulate"
            )
        if not self._stepped_alone:
            self._begin()
        if p not in self._present_now or p.grad is None:
            return
        moves = (self.counters["passes"] + 1) % self.options["optimizer_accumulation"] == 0
        if self._steps is not None:
            self._steps.step(p, {} if moves else {"lr": 0.0})
        else:
            self._step_alone(p, moves=moves)
        self._stepped_alone.add(p)

    def _begin(self) -> None:
        self._look_for_others()
        self._present_now = set(parameters(self))
        if self._steps is not None:
            self._steps.begin()

    @torch.no_grad()
    def _step_alone(self, p: Tensor, *, moves: bool) -> None:
        """Have an optimizer of torch step with one gradient."""
        others = [(q, q.grad) for q in parameters(self) if q is not p and q.grad is not None]
        rates = [(group, group["lr"]) for group in self.param_groups]
        try:
            for q, _ in others:
                q.grad = None
            for group, lr in rates:
                group["lr"] = lr if moves else 0.0 * lr
            super().apply()
        finally:
            for group, lr in rates:
                group["lr"] = lr
            for q, gradient in others:
                q.grad = gradient
        p.grad = None

    def on_exchange(self, present: Collection[Tensor]) -> None:
        """Put hooks on parameters that have come since the last step; theirs go with those that have left."""
        super().on_exchange(present)
        self._hook(present)
        if self._steps is not None:
            self._steps.begin()

    # stepping ---------------------------------------------------------------------------------------------------
    def prepare(self, overflow: bool | None) -> bool:
        """End a backward; there is a step if it has moved the weights."""
        released, self._stepped_alone, self._present_now = self._stepped_alone, set(), set()
        if overflow is not None:
            raise ClosureError(
                f"{self.method.name}: GradScaler scales gradients that have been stepped with before it sees them: "
                "leave it out and use bfloat16 or float32"
            )
        ready = super().prepare(overflow)
        if released:
            self.counters["passes"] = (self.counters["passes"] + 1) % self.options["optimizer_accumulation"]
            ready = ready and self.counters["passes"] == 0
        return ready
