"""What the methods have in common that evaluate the loss once more at the worst point nearby."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from optim_core.closures import check_dense, parameters
from optim_core.errors import ClosureError, WrapperConflict
from optim_core.formula import Formula, Share
from optim_core.rules import Value, sqrt, square, total, where
from optim_core.wrapper import Wrapper, collected

Expression: TypeAlias = Callable[..., Mapping[str, Value]]


class SharpnessAware(Wrapper):
    """Base of the methods that take a second gradient at the worst point nearby, for a step from where they were.

    ``minimize(closure)`` and ``step(closure)`` evaluate twice. Where gradients accumulate, both evaluations go over all
    parts of the batch: the closure of ``minimize`` yields the loss of each, divided by their number, that of ``step``
    calls backward on each. By hand::

        loss_function(...).backward()       # as often as gradients accumulate
        optimizer.first_step()              # to the worst point nearby; zeroes the gradients
        loss_function(...).backward()       # as often, on the same data
        optimizer.second_step()             # back, and the base's step; step() does the same

    With ``torch.amp.GradScaler``, which takes no closures, and may skip a step (the weights go back then, too); inside
    another wrapper ``optimizer`` is that one, and ``first_step`` this one's::

        scaler.scale(loss_function(...)).backward()
        scaler.unscale_(optimizer)
        optimizer.first_step()
        scaler.update()
        scaler.scale(loss_function(...)).backward()
        scaler.step(optimizer)
        scaler.update()

    With ``model=`` batch normalisation counts the first evaluation only: between the two, running statistics stand
    still. ``create_optimizer(model, ..., wrappers=["sam"])`` gives it by itself. Without it both are counted.

    Subclasses have two expressions, which :class:`optim_core.formula.Formula` runs: ``rise`` and ``fall``. They take
    buffers by name: ``p``, ``g`` (the gradient at hand), ``kept`` (the weights before),
    ``clean`` (the gradient before; it is what the base steps with, if there is one), others of their own.
    """

    model: nn.Module | None = None
    arguments: ClassVar[tuple[str, ...]] = ("model",)

    def wrapped(self) -> None:
        """Start at home.

        Raises:
            WrapperConflict: the base differentiates the gradients, whose graph ends with the excursion; or there is
                another excursion further inside.
        """
        super().wrapped()
        self._settle()
        if self.differentiates:
            raise WrapperConflict(
                f"{self.method.name} cannot go around {type(self.innermost).__name__}, which differentiates the "
                "gradients after the weights have moved back; use a first-order method such as adamw"
            )
        for other in self.inside:
            if isinstance(other, SharpnessAware):
                raise WrapperConflict(
                    f"{self.method.name} and {other.method.name} both move the weights for an evaluation elsewhere, "
                    "each where the other expects them to stay: choose one"
                )

    def _settle(self) -> None:
        self._away = False
        #: the parameters of the step under way
        self.shares: list[Share] = []
        self._room: dict[int, tuple[Sequence[Tensor], list[int], list[Tensor]]] = {}
        self._formulas: dict[Expression, Formula] = {}
        self._layers: list[_NormBase] | None = None
        self._frozen: list[tuple[_NormBase, float | None, bool]] = []

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._settle()

    def added(self, group: dict[str, Any]) -> None:
        """Check the group's own radius."""
        super().added(group)
        self.terms(group)

    # what subclasses say ------------------------------------------------------------------------------------
    #: The way to the worst point nearby, by the gradients ``g`` of the first evaluation.
    rise: ClassVar[Expression]
    #: The way back, and what becomes of both gradients.
    fall: ClassVar[Expression]

    @property
    def twice(self) -> bool:
        """Whether the step at hand has a second evaluation."""
        return True

    def expressions(self) -> tuple[Expression, Expression]:
        """Those of the step at hand: :attr:`rise` and :attr:`fall`, unless there is a choice."""
        return self.rise, self.fall

    def terms(self, group: Mapping[str, Any]) -> dict[str, Any]:
        """The options of the expressions for a group: the wrapper's, but a group may have a ``rho`` of its own."""
        return self.options | {"rho": self._rho(group)}

    def _rho(self, group: Mapping[str, Any]) -> Any:
        if "rho" not in group or "rho" in self.defaults:  # the base's own (Adadelta's, Sophia's)
            return self.options["rho"]
        return self.hypers["rho"].check(group["rho"], f"{self.method.name}, in a parameter group")

    def parts(self, group: Mapping[str, Any]) -> Iterable[tuple[dict[str, Any], Sequence[Tensor]]]:
        """The group's parameters, each with the options that hold for it."""
        return [(self.terms(group), group["params"])]

    def buffer(self, name: str, p: Tensor) -> Tensor:
        """Memory for a buffer of the expressions, beside ``p``, ``g`` and ``kept``."""
        del name
        return torch.empty_like(p, dtype=None if p.grad is None else p.grad.dtype)

    # stepping -----------------------------------------------------------------------------------------------
    @property
    def needs_closure(self) -> bool:
        """Whether the second evaluation is still to come: always, but between first_step() and second_step()."""
        return not self._away

    def collect(self, run: Callable[[], Any]) -> Any:
        """The loss here, the gradients there."""
        self._check_at_home()
        loss = super().collect(run)
        try:
            self._rise()
            if self.twice:
                for share in self.shares:
                    for p in share.columns["p"]:
                        p.grad = None
                super().collect(run)
            self._fall()
        except BaseException:
            self.restore()
            raise
        return loss

    @torch.no_grad()
    def first_step(self, *, zero_grad: bool = True) -> bool:
        """Move to the worst point nearby, by the gradients at hand.

        Returns:
            Whether this step wants a second evaluation (LookSAM does without, most of the time).

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
    def second_step(self) -> None:
        """Return to the weights and let the base step with the gradients of the second evaluation.

        Raises:
            ClosureError: there was no first step.
        """
        if not self._away:
            raise ClosureError(f"{self.method.name}.second_step() comes after first_step() and a second backward()")
        self.step()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Evaluate twice and step; after :meth:`first_step`, without a closure, as :meth:`second_step`.

        Args:
            closure: zeroes gradients, evaluates and calls backward, for the whole batch.

        Returns:
            The closure's first result, or None.

        Raises:
            ClosureError: a closure is needed and missing, or given where GradScaler drives.
        """
        if closure is None and not self._away:
            raise ClosureError(
                f"{self.method.name} evaluates the loss more than once a step: use optimizer.minimize(closure), "
                "step(closure) with a closure that zeroes the gradients, evaluates (all parts of the batch, if "
                "gradients accumulate) and calls backward, or first_step() and second_step(), each after backward()"
            )
        if closure not in (None, collected) and getattr(self, "found_inf", None) is not None:
            raise ClosureError(
                f"{self.method.name}: GradScaler takes no closures. Call scaler.unscale_(optimizer), "
                "optimizer.first_step() and scaler.update() after the first backward(), scaler.step(optimizer) after "
                "the second"
            )
        return super().step(closure)

    def prepare(self, overflow: bool | None) -> bool:
        """Go back, if the weights are at the worst point nearby, overflow or not."""
        if self._away:
            self._fall()
        if overflow is False:  # the scaler has seen the gradients of one evaluation only
            overflow = not self._finite()
        ready = super().prepare(overflow)
        if not ready:
            self.shares = []
        return ready

    def apply(self) -> None:
        """The base's step."""
        self.descend()
        self.shares = []  # gradients need not outlive the step

    def descend(self) -> None:
        """The base's step, with the gradients that are in place."""
        super().apply()

    def _finite(self) -> bool:
        """Whether the gradients that the base would get are."""
        gradients = [p.grad for p in parameters(self) if p.grad is not None]
        return not gradients or bool(torch.stack([g.isfinite().all().to(gradients[0].device) for g in gradients]).all())

    @torch.no_grad()
    def restore(self) -> None:
        """Go back to the weights before :meth:`first_step` without a step."""
        for share in self.shares if self._away else ():
            for p, kept in zip(share.columns["p"], share.columns.get("kept", ()), strict=False):
                p.copy_(kept)
        self._arrive()

    def _check_at_home(self) -> None:
        if self._away:
            raise ClosureError(
                f"{self.method.name}.first_step() has moved the weights: call backward() at the new ones, then "
                "second_step(); or restore(), to go back without a step"
            )

    def _rise(self) -> None:
        for p in parameters(self):
            check_dense(p, self.method.name)
        formula = self.formula(self.expressions()[0])
        self.shares = self._shared(lambda p: p.grad is not None, formula.buffers)
        self.calculate(formula, self.shares)
        self._away = True
        if self.twice:
            self._freeze()

    def _fall(self) -> None:
        formula = self.formula(self.expressions()[1])
        if "clean" in formula.buffers and self.twice:
            self._join()
        for share in self.shares:
            columns: Any = share.columns
            for name in formula.buffers:
                if name == "g" or name not in columns:
                    columns[name] = self._column(name, columns["p"])
        self.calculate(formula, self.shares)
        for share in self.shares:
            for p, clean in zip(share.columns["p"], share.columns.get("clean", ()), strict=False):
                p.grad = clean
        self._arrive()

    def _arrive(self) -> None:
        self._away = False
        for layer, momentum, tracking in self._frozen:
            layer.momentum, layer.track_running_stats = momentum, tracking
        self._frozen = []

    @torch.no_grad()
    def _join(self) -> None:
        """Parameters that have a gradient from the second evaluation only have not moved, and had a gradient of 0."""
        known = {id(p) for share in self.shares for p in share.columns["p"]}
        late = {id(p) for p in parameters(self) if p.grad is not None and id(p) not in known}
        for share in self._shared(lambda p: id(p) in late, ("p", "kept", "clean")) if late else ():
            for p, kept, clean in zip(*(share.columns[name] for name in ("p", "kept", "clean")), strict=True):
                check_dense(p, self.method.name)
                kept.copy_(p)
                clean.zero_()
            self.shares.append(share)

    def formula(self, expression: Expression) -> Formula:
        """The expression as a formula, the same one each time."""
        if expression not in self._formulas:
            self._formulas[expression] = Formula(expression)
        return self._formulas[expression]

    def _shared(self, wanted: Callable[[Tensor], bool], buffers: Sequence[str]) -> list[Share]:
        together: dict[Any, tuple[dict[str, Any], list[Tensor]]] = {}
        for group in self.param_groups:
            for options, members in self.parts(group):
                params = together.setdefault(tuple(options.items()), (options, []))[1]
                params += [p for p in members if wanted(p)]
        return [
            Share(options, {"p": params} | {name: self._column(name, params) for name in buffers if name != "p"})
            for options, params in together.values()
            if params
        ]

    def _column(self, name: str, params: Sequence[Tensor]) -> list[Tensor]:
        if name == "g":
            return [torch.zeros_like(p) if p.grad is None else p.grad for p in params]
        if name == "kept":
            return self._keep(params)
        return [self.buffer(name, p) for p in params]

    def _keep(self, params: Sequence[Tensor]) -> list[Tensor]:
        """Memory for the weights, the same at each step as long as the parameters lie where they did."""
        places = list(map(Tensor.data_ptr, params))
        known = self._room.get(id(params[0]))
        if known is None or places != known[1] or any(map(operator.is_not, params, known[0])):
            known = self._room[id(params[0])] = (params, places, [torch.empty_like(p) for p in params])
        return known[2]

    def _freeze(self) -> None:
        """Have running statistics stand still, in layers that are evaluated in training mode."""
        if self._layers is None:
            modules = () if self.model is None else self.model.modules()
            self._layers = [m for m in modules if isinstance(m, _NormBase)]
        for layer in self._layers:
            if layer.track_running_stats:
                self._frozen.append((layer, layer.momentum, layer.track_running_stats))
                layer.momentum = 0.0
                # what does not track neither counts batches; instance normalisation counts none, and asks otherwise
                layer.track_running_stats = not isinstance(layer, _BatchNorm)


def worst(g: Value, rho: Value, perturb_eps: Value, scale: Value | None = None) -> Value:
    r"""The excursion, :math:`\rho\, T^2 g / \lVert T g \rVert`, T the scale; none, where the norm is 0 or overflows."""
    scaled = g if scale is None else scale * g
    norm = sqrt(total(square(scaled)))
    direction = g if scale is None else scale * scaled
    return where((norm > 0) & (norm < math.inf), rho / (norm + perturb_eps) * direction, 0.0)
