"""Base of the methods that evaluate the loss once more at the worst point nearby."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn

from optim_core.catalog import Need
from optim_core.errors import ClosureError
from optim_core.methods import Column, Formula, full_tensor, hyper
from optim_core.optimizers import Evaluations, GlobalStreams, combined, count_passes, parameters, put, taken
from optim_core.rules import Value, sqrt, square, total, where
from optim_core.wrapping import GRADIENTS_READY, GradientsReady, Wrapper
from optim_core_sharpness.batch_norm import RunningStatistics
from optim_core_sharpness.participants import Options, Participants, ParticipantSet

Gradients: TypeAlias = list[Tensor | None]
Expression: TypeAlias = Callable[..., Mapping[str, Value]]


class SharpnessAware(Wrapper):
    """Base of the methods that step from the weights with a gradient taken at the worst point nearby.

    ``minimize(closure)`` and ``step(closure)`` evaluate twice. Where gradients accumulate, both evaluations go over all
    parts of the batch: the closure of ``minimize`` yields the loss of each part, divided by their number; the closure
    of ``step`` calls backward on each. A closure that does not zero gradients (Lightning's, with
    ``accumulate_grad_batches``) is noticed: only the last micro-batch is evaluated nearby then, and once more here, and
    stands for the others. By hand::

        loss_function(...).backward()       # as often as gradients accumulate
        optimizer.first_step()              # to the worst point nearby; zeroes the gradients
        loss_function(...).backward()       # as often, on the same data
        optimizer.second_step()             # back, and the base's step; step() does the same

    ``torch.amp.GradScaler`` takes no closures, and may skip a step (the weights go back then, too). Inside another
    wrapper, ``optimizer`` is the outer one, and ``first_step`` is called on this one::

        scaler.scale(loss_function(...)).backward()
        scaler.unscale_(optimizer)
        optimizer.first_step()
        scaler.update()
        scaler.scale(loss_function(...)).backward()
        scaler.step(optimizer)
        scaler.update()

    Given ``model=``, batch normalisation counts the first evaluation only: running statistics stand still during the
    second. ``create_optimizer(model, ..., wrappers=["sam"])`` passes the model. Without it both are counted.

    Both evaluations see the same random numbers, such as dropout's masks, as in the authors' code, and torch's streams
    go on as after one; ``same_draws=False`` gives each its own. By hand the second has its own, unless
    ``with streams.again():`` is around it, where ``streams = optim_core.optimizers.GlobalStreams(model.parameters())``
    was made before the first.

    Memory for the weights, and for the first gradients where both are mixed (GSAM, WSAM, LookSAM), is kept from step to
    step; checkpoints hold neither.

    Subclasses declare two expressions, which :class:`optim_core.methods.Formula` runs: ``rise`` and, if it does more
    than put the weights back, ``fall``. They take buffers by name: ``p``, ``g`` (the gradient at hand), ``kept`` (the
    weights before), and others of their own. The base steps with the ``g`` that they leave.
    """

    same_draws: bool = hyper(True, "let both evaluations see the same random numbers, such as masks of dropout")

    model: nn.Module | None = None
    arguments: ClassVar[tuple[str, ...]] = ("model",)
    group_options: ClassVar[tuple[str, ...]] = ("rho",)
    needs = frozenset({"closure"})
    refuses: ClassVar[Mapping[Need, str]] = {
        "create_graph": "differentiates the gradients after the weights have moved back; use a first-order method such "
        "as adamw"
    }

    def on_wrap(self) -> None:
        """Start at home."""
        super().on_wrap()
        self._reset()

    def _reset(self) -> None:
        self._away = False
        #: the parameters of the step under way
        self.sets: list[ParticipantSet] = []
        self._participants: Participants | None = None
        self._formulas: dict[Expression, Formula] = {}
        self._statistics = RunningStatistics(self.model)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._reset()
        count_passes(parameters(self))

    def on_group(self, group: dict[str, Any]) -> None:
        """Check the group's own radius."""
        super().on_group(group)
        self.options_of(group)
        count_passes(group["params"])

    def on_exchange(self, present: Collection[Tensor]) -> None:
        """Let go of what is assembled for parameters that have left."""
        super().on_exchange(present)
        if not self._away:
            self._participants = None
            self._formulas.clear()

    # what subclasses say ------------------------------------------------------------------------------------
    #: The way to the worst point nearby, by the gradients ``g`` of the first evaluation.
    rise: ClassVar[Expression]
    #: The way back, and what becomes of both gradients; None: the base steps with those of the second evaluation.
    fall: ClassVar[Expression | None] = None

    @property
    def twice(self) -> bool:
        """True if the step at hand has a second evaluation."""
        return True

    def expressions(self) -> tuple[Expression, Expression | None]:
        """The expressions of the step at hand: :attr:`rise` and :attr:`fall`, unless a subclass chooses."""
        return self.rise, self.fall

    def options_of(self, group: Mapping[str, Any]) -> dict[str, Any]:
        """The options of the expressions for a group: the wrapper's, but a group may have a ``rho`` of its own."""
        if "rho" not in group or "rho" in self.defaults:  # the base's own (Adadelta's, Sophia's)
            return dict(self.options)
        rho = self.hypers["rho"].check(group["rho"], f"{self.method.name}, in a parameter group")
        return self.options | {"rho": rho}

    def parts(self, group: Mapping[str, Any]) -> Iterable[tuple[Options, Sequence[Tensor]]]:
        """The group's parameters, split by options that only some of them have."""
        return [({}, group["params"])]

    def buffer(self, name: str, members: ParticipantSet) -> Column:
        """Memory for a buffer of the expressions other than ``p``, ``g`` and ``kept``, laid out like the gradients."""
        return members.memory(name, members.columns["g"])

    # stepping -----------------------------------------------------------------------------------------------
    @property
    def needs_closure(self) -> bool:
        """True unless the second evaluation is done by hand, between first_step() and second_step()."""
        return not self._away

    def collect(self, run: Callable[[], Any]) -> Any:
        """Leave the gradients at the worst point nearby; return the loss at the weights themselves."""
        self._check_at_home()
        streams = GlobalStreams(parameters(self)) if self.twice and self.options["same_draws"] else None
        again = streams.again if streams else nullcontext
        inner = super().collect
        evaluations = Evaluations(self, lambda: inner(run), self.method.name)
        loss = evaluations.first()
        try:
            rest = self._all_but_one(evaluations, again) if self.twice and evaluations.passes != 1 else None
            self._rise()
            if self.twice:
                with again():
                    evaluations.alone()
                if rest is not None:
                    put(self, combined(rest, taken(self), evaluations.passes))
            self.fall_back()
        except BaseException:
            self.restore()
            raise
        return loss

    def _all_but_one(self, evaluations: Evaluations, again: Callable[[], AbstractContextManager[None]]) -> Gradients:
        r"""What the gradients that have accumulated are beyond those of the evaluation at hand.

        With G those of n backward passes, g the last one's, and h that at the worst point nearby, the base steps with
        G + n (h - g): exact if all micro-batches are the same, otherwise with the others' sharpness estimated. g takes
        an evaluation more, here; what is returned is G - n g.
        """
        everything = taken(self)
        self._statistics.stop()
        with again():
            evaluations.alone()
        self._statistics.resume()
        rest = combined(everything, taken(self), -evaluations.passes)
        put(self, everything)
        return rest

    @torch.no_grad()
    def first_step(self, *, zero_grad: bool = True) -> bool:
        """Move to the worst point nearby, by the gradients at hand.

        Args:
            zero_grad: zero the gradients after that.

        Returns:
            True if this step needs a second evaluation (most of LookSAM's do not).

        Raises:
            ClosureError: the weights are there already, or there is no gradient.
        """
        self._check_at_home()
        if all(p.grad is None for p in parameters(self)):
            raise ClosureError(f"{self.method.name}.first_step() found no gradients: call backward() before it")
        self._rise()
        if zero_grad:
            self.zero_grad()
        return self.twice

    @torch.no_grad()
    def second_step(self, *, zero_grad: bool = False) -> None:
        """Return to the weights and let the base step with the gradients of the second evaluation.

        Args:
            zero_grad: zero the gradients after that.

        Raises:
            ClosureError: there was no first step.
        """
        if not self._away:
            raise ClosureError(f"{self.method.name}.second_step() comes after first_step() and a second backward()")
        self.step()
        if zero_grad:
            self.zero_grad()

    def step(self, closure: Callable[[], Any] | GradientsReady | None = None) -> Any:
        """Evaluate twice and step; after :meth:`first_step`, without a closure, as :meth:`second_step`.

        Args:
            closure: zeroes gradients, evaluates and calls backward, for the whole batch.

        Returns:
            The closure's first result, or None.

        Raises:
            ClosureError: a closure is needed and missing, or given where GradScaler drives.
        """
        if closure is None and not (self._away or self._collected):
            raise ClosureError(
                f"{self.method.name} evaluates the loss more than once a step: use optimizer.minimize(closure), "
                "step(closure) with a closure that zeroes the gradients, evaluates (all parts of the batch, if "
                "gradients accumulate) and calls backward, or first_step() and second_step(), each after backward()"
            )
        if closure not in (None, GRADIENTS_READY) and getattr(self, "found_inf", None) is not None:
            raise ClosureError(
                f"{self.method.name}: GradScaler takes no closures. Call scaler.unscale_(optimizer), "
                "optimizer.first_step() and scaler.update() after the first backward(), scaler.step(optimizer) after "
                "the second"
            )
        return super().step(closure)

    def prepare(self, overflow: bool | None) -> bool:
        """Go back, if the weights are at the worst point nearby, overflow or not."""
        if self._away:
            self.fall_back()
        if overflow is False:  # the scaler has seen the gradients of one evaluation only
            overflow = not _are_finite([p.grad for p in parameters(self) if p.grad is not None])
        ready = super().prepare(overflow)
        if not ready:
            self._end()
        return ready

    def apply(self) -> None:
        """The base's step."""
        self.descend()
        self._end()

    def _end(self) -> None:
        for members in self.sets:
            members.end()
        self.sets = []

    def descend(self) -> None:
        """The base's step, with the gradients that are in place."""
        super().apply()

    @torch.no_grad()
    def restore(self) -> None:
        """Go back to the weights before :meth:`first_step` without a step."""
        if self._away:
            self._return()
        self._arrive()

    def _check_at_home(self) -> None:
        if self._away:
            raise ClosureError(
                f"{self.method.name}.first_step() has moved the weights: call backward() at the new ones, then "
                "second_step(); or restore(), to go back without a step"
            )

    # moving -------------------------------------------------------------------------------------------------
    def _rise(self) -> None:
        last = self._participants
        if last is None or not last.begin_again(self.param_groups, self.options_of):
            self._participants = last = self._gathered(lambda p: p.grad is not None)
        self.sets = list(last.sets)
        self._run(self.expressions()[0], self.sets)
        for members in self.sets:  # the next backward may have the gradients' memory, which is in the caches
            members.columns.pop("g", None)
        self._away = True
        if self.twice:
            self._statistics.stop()

    def fall_back(self) -> None:
        """From the worst point nearby to where the step began, with the gradients that the base steps with."""
        fall = self.expressions()[1]
        if fall is None:
            self._return()
        else:
            self._mix(fall)
        self._arrive()

    def _return(self) -> None:
        if self.twice:
            with torch.set_grad_enabled(False):
                for members in self.sets:
                    members.put(members.columns["kept"])

    def _mix(self, fall: Expression) -> None:
        """Return, and make one gradient of both."""
        sets = self.sets + self._late_sets()
        for members in sets:
            members.columns.pop("g", None)  # of an attempt that failed
            if not members.p.is_unmoved():
                members.columns["p"] = Column(members.p)
        self._run(fall, sets)
        self.sets = sets

    @torch.no_grad()
    def _late_sets(self) -> list[ParticipantSet]:
        """Parameters with a gradient from the second evaluation only: they have not moved, and had a gradient of 0."""
        idle = self._participants.idle if self._participants else ()
        late = {id(p) for p in idle if p.grad is not None}
        sets = self._gathered(lambda p: id(p) in late).sets if late else []
        for members in sets:
            members.fill(("g", "kept", "clean"), self._column)
            for p, kept, clean in zip(members.p, members.columns["kept"], members.columns["clean"], strict=True):
                kept.copy_(p)
                clean.zero_()
        return sets

    def _arrive(self) -> None:
        self._away = False
        self._statistics.resume()

    def _gathered(self, wanted: Callable[[Tensor], bool]) -> Participants:
        return Participants(self.param_groups, self.options_of, self.parts, wanted)

    def _run(self, expression: Expression, sets: Sequence[ParticipantSet]) -> None:
        """Run an expression over parameters, after giving them the buffers that it takes."""
        if expression not in self._formulas:
            self._formulas[expression] = Formula(expression)
        formula = self._formulas[expression]
        for members in sets:
            members.fill(formula.buffers, self._column)
        self.calculate(formula, sets)

    def _column(self, name: str, members: ParticipantSet) -> Column:
        if name == "g":
            return members.gradients(self.method.name)
        return members.memory(name, members.p) if name == "kept" else self.buffer(name, members)


def _are_finite(gradients: Sequence[Tensor]) -> bool:
    device = gradients[0].device if gradients else None
    return not gradients or bool(torch.stack([full_tensor(g.isfinite().all()).to(device) for g in gradients]).all())


def worst(g: Value, rho: Value, perturb_eps: Value, scale: Value | None = None) -> Value:
    r"""The excursion, :math:`\rho\, T^2 g / \lVert T g \rVert`, T the scale; none, where the norm is 0 or overflows."""
    scaled = g if scale is None else scale * g
    norm = sqrt(total(square(scaled)))
    direction = g if scale is None else scale * scaled
    return where((norm > 0) & (norm < math.inf), rho / (norm + perturb_eps) * direction, 0.0)
