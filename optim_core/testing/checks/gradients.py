"""What a step makes of gradients: read and not written, zero, missing, late, sparse or not a number."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from optim_core.errors import OptimCoreError
from optim_core.optimizers import closures
from optim_core.stepping import minimize
from optim_core.testing.check import NotApplicable, check, fail, require
from optim_core.testing.checks.construction import goes_by_gradients, is_optimizer
from optim_core.testing.checks.graphs import shares_nothing
from optim_core.testing.small import STEPS, close, copies, equal, finite, loss, set_gradients
from optim_core.testing.subject import Subject


def takes_one_loss(subject: Any) -> bool:
    """An optimizer whose gradients are those of one loss."""
    return goes_by_gradients(subject) and "multi_loss" not in subject.needs


def takes_gradients(subject: Any) -> bool:
    """One that takes a step from gradients alone, whoever has computed them."""
    return takes_one_loss(subject) and not subject.needs & {"closure", "loss", "create_graph"}


def leaves_gradients(subject: Any) -> bool:
    """One after whose step the gradients are those that a user's closure has left."""
    makes_its_own = subject.kind == "wrapper" and "closure" in subject.needs
    return takes_one_loss(subject) and not makes_its_own and not getattr(subject.target, "releases", False)


@check(leaves_gradients)
def check_leaves_gradients_alone(subject: Subject) -> None:
    """step() reads gradients and never writes them: others clip, log and accumulate them.

    Remedy: use out-of-place operations on ``p.grad`` (``grad = grad.add(p, alpha=weight_decay)``, ``grad = -grad``).
    """
    decay = {"weight_decay": 0.1} if "weight_decay" in subject.defaults else {}
    for options in [{}, *({name: True} for name in ("maximize",) if name in subject.defaults)]:
        params = subject.params()
        optimizer = subject.build(params, **options, **decay)
        kept: list[list[tuple[int, int, Tensor]]] = []  # of each evaluation in a step

        full = full_closure(subject, optimizer, params)

        def evaluated(full: Any = full, params: Any = params, kept: Any = kept) -> Any:
            value = full()
            kept.append([(p.grad.data_ptr(), p.grad._version, p.grad.detach().clone()) for p in params])
            return value

        for _ in range(3):
            if "gradients" in subject.needs:
                full()
            kept.clear()
            optimizer.step(evaluated)
            for p, *before in zip(params, *kept, strict=True):
                faults = [_written(p.grad, *found, may_go=subject.kind == "wrapper") for found in before]
                beside = "".join(f", with {name}=True" for name in options)
                require(not all(faults), f"step() {faults[-1]} of the parameter of shape {tuple(p.shape)}{beside}")


def _written(g: Tensor | None, pointer: int, version: int, before: Tensor, *, may_go: bool) -> str:
    """What a step has done to a gradient; empty if nothing. A wrapper that waits for more may take it away."""
    if g is None:
        return "" if may_go else "removes the gradient"
    if g.data_ptr() != pointer:
        return "replaces the gradient"
    if not bool(((g == before) | (g.isnan() & before.isnan())).all()):
        return "overwrites the gradient"
    return "" if g._version == version else "writes to, and then restores, the gradient"


def full_closure(subject: Subject, optimizer: Any, params: Any) -> Any:
    """What ``step`` takes: it zeroes the gradients, evaluates, and calls backward."""

    def full() -> Tensor:
        optimizer.zero_grad()
        value = loss(params)
        closures.backward(value, create_graph=getattr(optimizer, "needs_graph", "create_graph" in subject.needs))
        return value

    return full


def _recorded(closure: Any, found: list[float]) -> Tensor:
    """What a closure returns, written down."""
    value: Tensor = closure()
    found.append(float(value))
    return value


def _same(a: float, b: float) -> bool:
    return abs(a - b) < 1e-6


@check(takes_one_loss)
def check_goes_on_after_zero_gradients(subject: Subject) -> None:
    """Gradients that are all zero (LoRA's at the start) do no harm, and later ones count.

    Remedy: look for divisions by a norm or an average of gradients: ``x / (norm + eps)``, ``where(norm > 0, ...)``.
    """
    params = subject.params((3, 4), (5,), (4, 2, 3, 3))
    optimizer = subject.build(params)
    before = copies(params)
    minimize(optimizer, lambda: torch.stack([(0 * p.square()).sum() for p in params]).sum())
    require(finite(params), "a step with gradients of zero leaves parameters that are infinite or not a number")
    subject.train(optimizer, params)
    require(finite(params), "parameters are infinite or not a number some steps after gradients of zero")
    require(not equal(before, params), "after a step with gradients of zero, the parameters never move again")


@check(goes_by_gradients)
def check_parameters_may_get_gradients_late(subject: Subject) -> None:
    """A parameter without a gradient is left alone, and takes part from the step at which it has one.

    Remedy: skip parameters with ``p.grad is None``; create each parameter's state, and count its steps, by itself.
    """
    (early, late), (_, alone) = (subject.params((3, 4), (4, 3)) for _ in range(2))
    optimizer = subject.build([early, late])
    before = copies([late])
    subject.train(optimizer, [early], 3)
    require(equal(before, [late]), "a parameter without a gradient moves")
    try:
        subject.train(optimizer, [early, late])
    except Exception as error:
        raise type(error)(f"when a parameter gets its first gradient in the fourth step: {error}") from error
    require(finite([early, late]), "a parameter that gets gradients late ends up infinite or not a number")
    require(not equal(before, [late]), "a parameter that gets gradients late never moves")
    if subject.kind == "optimizer" and shares_nothing(subject):
        subject.train(subject.build([alone]), [alone])
        same = torch.allclose(late, alone, rtol=1e-12, atol=1e-12)
        require(same, "a parameter that gets gradients late goes another way than one that is alone from the start")


@check(is_optimizer)
def check_frozen_parameters_stay(subject: Subject) -> None:
    """A parameter with requires_grad=False beside others is left alone.

    Remedy: skip parameters with ``p.grad is None`` in every loop, also those that prepare the step.
    """
    free, frozen = subject.params()
    frozen.requires_grad_(False)
    optimizer = subject.build([free, frozen])
    before = copies([free, frozen])
    subject.train(optimizer, [free], STEPS)
    require(equal(before[1:], [frozen]), "a frozen parameter moves")
    require(not equal(before[:1], [free]), "a parameter beside a frozen one does not move")


@check(lambda subject: takes_gradients(subject) and subject.kind == "optimizer")
def check_nan_stays_where_it_is(subject: Subject) -> None:
    """A gradient that is not a number neither crashes the step nor harms parameters that share nothing with it.

    Remedy: keep what is computed for one parameter out of another's; let functions of matrices return nan, not raise.
    """
    sick, well = subject.params()
    optimizer = subject.build([sick, well])
    for t in range(4):
        set_gradients([sick, well], t)
        if t == 1:
            sick.grad = torch.full_like(sick, math.nan)
        try:
            optimizer.step()
        except (OptimCoreError, ValueError, FloatingPointError):  # it says so
            return
    if shares_nothing(subject):
        require(finite([well]), "nan in one parameter's gradient spreads to another parameter")


@check(lambda subject: takes_gradients(subject) and subject.kind == "optimizer")
def check_sparse_gradients_are_taken_or_refused(subject: Subject) -> None:
    """A sparse gradient is worked with, or refused before anything is changed.

    Remedy: ``if p.grad.is_sparse: raise ...`` at the beginning of step(), and say ``sparse=False`` in its text. What
    takes them says ``sparse = True`` in its class, and in its spec.
    """
    if subject.is_declared and subject.spec is not None:
        spec, cls = (getattr(x, "sparse", False) for x in (subject.spec, subject.target))
        require(spec == cls, f"its spec says sparse={spec}, its class sparse={cls}")
    embedding = torch.nn.Embedding(4, 3, sparse=True)
    params = [*embedding.parameters()]
    try:
        optimizer = subject.build(params)
    except (ValueError, TypeError):
        raise NotApplicable("it takes no matrices") from None
    before = copies(params)
    embedding(torch.tensor([1, 2])).square().sum().backward()
    try:
        optimizer.step()
    except Exception as error:  # noqa: BLE001 - refusals come in many classes
        require(equal(before, params), f"a sparse gradient is refused after parameters were changed ({error})")
        if subject.is_declared:
            require("sparse=False" in str(error), f"the refusal of a sparse gradient has no remedy: {error}")
        return
    require(finite(params) and not equal(before, params), "a sparse gradient is accepted and does nothing")


@check(takes_one_loss)
def check_step_takes_a_closure(subject: Subject) -> None:
    """step(closure) evaluates the closure with gradients enabled, returns its loss, and does what minimize does.

    Remedy: ``with torch.enable_grad(): loss = closure()`` at the beginning of step(), and ``return loss`` at its end.
    """
    ends = []
    for way in ("minimize", "closure"):
        torch.manual_seed(0)
        params = subject.params()
        optimizer = subject.build(params)
        full = full_closure(subject, optimizer, params)
        for _ in range(4):
            if way == "minimize":
                minimize(optimizer, partial(loss, params))
                continue
            expected = loss(params).item()
            if "gradients" in subject.needs:
                full()
            found: list[float] = []
            with torch.no_grad():  # trainers call it so
                value = optimizer.step(partial(_recorded, full, found))
            if value is None:
                fail("step(closure) does not return the loss of the closure")
            # a method that never evaluates at the weights returns a loss of its choice
            losses = [x for x in found if _same(x, expected)] or found or [expected]
            same = any(_same(float(value), x) for x in losses)
            require(same, f"step(closure) returns {float(value)}, not the loss {expected}")
        ends.append(params)
    if not getattr(optimizer, "needs_sample", False):
        require(equal(*ends), "step(closure) leads elsewhere than minimize(closure)")


@check(lambda subject: takes_gradients(subject) and subject.kind == "optimizer")
def check_grad_scaler(subject: Subject) -> None:
    """GradScaler changes no step, and leaves out one whose gradients overflow.

    Remedy: take gradients as they stand at step(); where step() takes over the unscaling, see ``grad_scale`` and
    ``found_inf`` in torch's documentation.
    """
    plain, scaled = subject.params(), subject.params()
    torch.manual_seed(0)
    reference = subject.build(plain)
    torch.manual_seed(0)  # the same draws
    optimizer = subject.build(scaled)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**4, growth_interval=100)

    def scaled_step(value: Tensor) -> None:
        optimizer.zero_grad()
        closures.backward(scaler.scale(value), create_graph=False)
        scaler.step(optimizer)
        scaler.update()

    for step in range(STEPS):
        full_closure(subject, reference, plain)()
        reference.step()
        scaled_step(loss(scaled))
        require(close(scaled, plain), f"step {step + 1} under GradScaler leads elsewhere than without")
    before = copies(scaled)
    scaled_step(loss(scaled) * math.inf)
    require(equal(before, scaled), "a step whose gradients overflow changes parameters under GradScaler")
