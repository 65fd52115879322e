"""RotoGrad and its relatives: tasks that each see the shared representation from an angle of their own."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from optim_core.errors import ClosureError, InvalidOption, OptimCoreError, WrapperConflict
from optim_core.methods import compute_dtype, hyper
from optim_core.optimizers import backward, check_dense, parameters
from optim_core_multitask.rotations import Rotations, rotated
from optim_core_multitask.tasks import MultiTask

_TINY = 1e-15


class RotateOnly(MultiTask):
    r"""Turns the representation that tasks share, for each of them, so that their gradients agree in direction.

    With :math:`h_i` the gradient of task i by the representation, :math:`q_i` that by its rotated one, a the mean of
    the :math:`h_i` scaled to one norm, and B a batch,

    .. math:: \text{each } R_i \text{ descends on } \sum_{b \in B} \lVert R_i a_b - q_{i,b} \rVert^2, \qquad
        \text{the backbone gets } \textstyle\sum_i h_i

    The rotations are a module of the model, through which the shared representation goes; no loss reaches them. They
    get a group of their own in the base, without weight decay and with lr = ``lr_rotation``, unless they have one
    already. That lr should be smaller than the model's, and decay. The sum over the batch, not the mean, is that of the
    paper and of version 0.1.6 of the authors' package; earlier ones took the mean, which matters to SGD. Rotations
    start from the identity; the package begins at random, whatever its constructor says.

    Example:
        >>> backbone, heads = torch.nn.Linear(3, 4), torch.nn.ModuleList([torch.nn.Linear(4, 1) for _ in range(2)])
        >>> rotations = Rotations(tasks=2, size=4)
        >>> params = [*backbone.parameters(), *heads.parameters()]
        >>> optimizer = RotateOnly(torch.optim.SGD(params, lr=0.1), rotations=rotations)
        >>> def closure():
        ...     both = rotations(backbone(torch.ones(5, 3)))
        ...     return [(head(r) - i).square().mean() for i, (head, r) in enumerate(zip(heads, both))]
        >>> len(optimizer.minimize(closure))
        2

    Source: Javaloy and Valera, RotoGrad: Gradient Homogenization in Multitask Learning, 2021,
    https://arxiv.org/abs/2103.02631, equation 10.
    """

    rotations: Rotations
    arguments: ClassVar[tuple[str, ...]] = ("rotations",)

    lr_rotation: float | None = hyper(None, "lr of the rotations; None: a tenth of the first group's", ge=0)
    burn_in_period: int = hyper(20, "step, from 0, at which what is initial is taken anew", ge=0)
    normalize_losses: bool = hyper(False, "train the heads on loss / size of the initial loss")

    @classmethod
    def arguments_of(cls, model: nn.Module) -> dict[str, Any]:
        """The model's rotations, if it has no others."""
        found = [module for module in model.modules() if isinstance(module, Rotations)]
        return {"rotations": found[0]} if len(found) == 1 else {}

    def on_wrap(self) -> None:
        """Take the rotations over.

        Raises:
            InvalidOption: ``rotations`` is something else.
            WrapperConflict: the base refuses a group for them.
        """
        super().on_wrap()
        if not isinstance(self.rotations, Rotations):
            raise InvalidOption(
                f"{self.method.name}: rotations={type(self.rotations).__name__} should be the model's "
                "optim_core_multitask.rotations.Rotations"
            )
        self.counters["steps"] = 0
        self._group()
        self.rotations.take_over()

    def _group(self) -> None:
        """Give the rotations a group of their own."""
        own = {p: f"rotations.{name}" for name, p in self.rotations.named_parameters()}
        for group in self.param_groups:
            if group["params"] and all(p in own for p in group["params"]):
                if self.options["lr_rotation"] is not None:
                    raise InvalidOption(
                        f"{self.method.name}: the rotations have a group of their own, with lr={group['lr']:g}: leave "
                        "lr_rotation out"
                    )
                return
        named = all("param_names" in group for group in self.param_groups)
        before = [dict(group) for group in self.param_groups]
        for group in self.param_groups:
            kept = [i for i, p in enumerate(group["params"]) if p not in own]
            if named:
                own |= {p: n for p, n in zip(group["params"], group["param_names"], strict=True) if p in own}
                group["param_names"] = [group["param_names"][i] for i in kept]
            group["params"] = [group["params"][i] for i in kept]
        lr = self.options["lr_rotation"]
        options: dict[str, Any] = {"lr": 0.1 * self.param_groups[0]["lr"] if lr is None else lr}
        if "weight_decay" in self.defaults:
            options["weight_decay"] = 0.0
        params = [(name, p) for p, name in own.items()] if named else list(own)
        try:
            self.add_param_group({"params": params, **options})
        except OptimCoreError as refusal:
            for group, former in zip(self.param_groups, before, strict=True):
                group.update(former)
            raise WrapperConflict(
                f"{self.method.name} cannot give the rotations a group of their own, with lr={options['lr']:g}: "
                f"{refusal}. lr_rotation sets their lr"
            ) from refusal

    # a step -------------------------------------------------------------------------------------------------
    def merge(self, losses: Sequence[Tensor], scale: Tensor | None) -> None:
        """Go back through the heads, turn the rotations, go back through the backbone.

        What the rotations and weights learn from is unscaled and in at least float32 (their gradients would have the
        scale squared, and what is initial that of its time); gradients are scaled again where they are left.

        Raises:
            ClosureError: the losses do not come from the rotations.
        """
        last = self.rotations.last_pass()
        if last is None or len(losses) != len(self.rotations):
            raise ClosureError(
                f"{self.method.name}: each of the {len(self.rotations)} losses should come from its own tensor in what "
                f"rotations(z) has returned, in training mode, for this step; there are {len(losses)} losses, and "
                f"{'no' if last is None else 'one'} pass through the rotations"
            )
        values = torch.stack([loss.detach().reshape(()) for loss in losses])
        initial = self._initial("loss", values)
        self.zero_grad()
        for i, loss in enumerate(losses):
            scaled = loss / initial[i].abs().to(loss.dtype) if self.options["normalize_losses"] else loss
            scaled = scaled if scale is None else scaled * scale.to(loss.device)
            backward(scaled, create_graph=False, retain_graph=i < len(losses) - 1)
        for p in parameters(self):
            check_dense(p, self.method.name)
        h, q = [x.grad for x in last.copies], [x.grad for x in last.rotated]
        reached = [(a, b) for a, b in zip(h, q, strict=True) if a is not None and b is not None]
        if len(reached) < len(h):
            raise ClosureError(f"{self.method.name}: a task's loss does not depend on what rotations(z) gave it")
        gradients = torch.stack([_unscaled(a, scale) for a, _ in reached])
        self._turn_towards(_direction(gradients), [_unscaled(b, scale) for _, b in reached])
        shared = self.shared(gradients, values / initial)
        if scale is not None:
            shared = (shared * scale.to(shared.device)).to(last.z.dtype)
            for p in self.rotations.parameters():
                if p.grad is not None:
                    p.grad.mul_(scale.to(p.device))
        if last.z.requires_grad:
            last.z.backward(shared)  # type: ignore[no-untyped-call]

    def shared(self, gradients: Tensor, progress: Tensor) -> Tensor:
        """What the backbone gets.

        Args:
            gradients: h_i, stacked.
            progress: each task's loss, relative to its initial one.
        """
        del progress
        return gradients.sum(0)

    def apply(self) -> None:
        """The base's step, counted."""
        super().apply()
        self.counters["steps"] += 1

    def _turn_towards(self, direction: Tensor, q: Sequence[Tensor]) -> None:
        size = self.rotations.size
        with torch.enable_grad():
            matrices = self.rotations.matrices()
            distances = [
                (rotated(direction[:, :size], r) - x[:, :size]).square().sum() for r, x in zip(matrices, q, strict=True)
            ]
            generators = list(self.rotations.generators)
            found = torch.autograd.grad(torch.stack(distances).sum(), generators)
        for p, g in zip(generators, found, strict=True):
            p.grad = g

    def _initial(self, name: str, now: Tensor) -> Tensor:
        """What a number of each task was at the first step, or at the end of the burn-in."""
        step, since = self.counters["steps"], f"{name}_of_step"
        # a step may have a second evaluation (SAM), which is at other weights
        # ... and one that GradScaler has left out may have begun with inf or nan
        anew = since not in self.counters or (step == self.options["burn_in_period"] != self.counters[since])
        anew = anew or (step == self.counters[since] and not self._is_finite(name))
        if anew:
            self.counters[since] = step
        generators = list(self.rotations.generators)
        for p, value in zip(generators, now, strict=True):
            if anew:
                self.memory.setdefault(p, {})[name] = value.clone()
        return torch.stack([self.memory[p][name] for p in generators])

    def _is_finite(self, name: str) -> bool:
        kept = [self.memory[p][name] for p in self.rotations.generators]
        return bool(torch.stack(kept).isfinite().all())


class RotoGrad(RotateOnly):
    r"""RotateOnly, with the gradients of all tasks brought to one norm, so that none drowns the others.

    .. math:: \text{the backbone gets } N \sum_i h_i / \lVert h_i \rVert, \quad
        N = \sum_i \alpha_i \lVert h_i \rVert, \quad \alpha_i \propto \lVert h_i \rVert / \lVert h_{i0} \rVert

    h_i0 is the first one, and taken anew at the end of the burn-in. A task whose gradient vanishes is brought to
    norm N as the others are. Everything else is as in :class:`RotateOnly`.

    Example:
        >>> rotations = Rotations(tasks=2, size=1)
        >>> w = torch.nn.Parameter(torch.tensor([[1.0]]))
        >>> optimizer = RotoGrad(torch.optim.SGD([w], lr=0.5), rotations=rotations)
        >>> def closure():
        ...     a, b = rotations(w)
        ...     return [a.sum(), 3 * b.sum()]
        >>> [loss.item() for loss in optimizer.minimize(closure)]
        [1.0, 3.0]
        >>> w.item()  # two gradients of norm 2, the mean of 1 and 3
        -1.0

    Source: Javaloy and Valera, RotoGrad: Gradient Homogenization in Multitask Learning, 2021,
    https://arxiv.org/abs/2103.02631, Algorithm 1.
    """

    def shared(self, gradients: Tensor, progress: Tensor) -> Tensor:
        """The sum of gradients of one norm."""
        del progress
        norms = _norms(gradients).clamp(min=_TINY)
        ratios = norms / self._initial("norm", norms)
        common = (ratios / ratios.sum() * norms).sum()
        return _weighted(common / norms, gradients)


class RotoGradNorm(RotateOnly):
    r"""RotateOnly, with weights for the tasks that are learnt as in GradNorm: those that lag behind get more.

    .. math:: \text{the backbone gets } \sum_i w_i h_i, \quad w_i = K \operatorname{softmax}(u)_i, \quad
        u \text{ descends on } \sum_i \Bigl\lvert w_i \lVert h_i \rVert -
        \bigl\lVert \tfrac1K \textstyle\sum_j w_j h_j \bigr\rVert\, r_i^\alpha \Bigr\rvert

    r_i is the task's loss relative to its initial one, over the mean of these; what is subtracted is held constant. u
    belongs to the rotations: ``Rotations(..., weighted=True)``, and is trained with them. Everything else is as in
    :class:`RotateOnly`.

    Example:
        >>> rotations = Rotations(tasks=2, size=1, weighted=True)
        >>> w = torch.nn.Parameter(torch.tensor([[1.0]]))
        >>> optimizer = RotoGradNorm(torch.optim.SGD([w], lr=0.5), rotations=rotations, alpha=1.0)
        >>> def closure():
        ...     a, b = rotations(w)
        ...     return [a.sum(), 3 * b.sum()]
        >>> _ = optimizer.minimize(closure)
        >>> w.item()
        -1.0

    Source: Javaloy and Valera, RotoGrad: Gradient Homogenization in Multitask Learning, 2021,
    https://arxiv.org/abs/2103.02631; Chen et al., GradNorm: Gradient Normalization for Adaptive Loss Balancing in Deep
    Multitask Networks, 2017, https://arxiv.org/abs/1711.02257, Algorithm 1.
    """

    alpha: float | None = hyper(None, "how much more those get that lag behind; required", ge=0, search=(0.1, 2.0))

    def on_wrap(self) -> None:
        """Look for alpha and the weights.

        Raises:
            InvalidOption: one of them is missing.
        """
        if self.options["alpha"] is None:
            raise InvalidOption("RotoGradNorm needs alpha: 0 for equal norms, 1.5 where tasks are very different")
        if getattr(self.rotations, "task_weights", None) is None:
            raise InvalidOption("RotoGradNorm learns a weight for each task: build Rotations(..., weighted=True)")
        super().on_wrap()

    def shared(self, gradients: Tensor, progress: Tensor) -> Tensor:
        """The weighted sum."""
        u = typing.cast("Tensor", self.rotations.task_weights)  # on_wrap() has seen to it
        with torch.enable_grad():
            shares = u.exp() + _TINY
            weights = len(u) * shares / shares.sum()
            fixed = weights.detach()
            mean = _weighted(fixed, gradients).norm() / len(u)
            wanted = mean * (progress / progress.mean()) ** self.options["alpha"]
            distance = (_norms(gradients) * weights - wanted).abs().sum()
            (u.grad,) = torch.autograd.grad(distance, u)
        return _weighted(fixed, gradients)


def _unscaled(g: Tensor, scale: Tensor | None) -> Tensor:
    return g if scale is None else g.to(compute_dtype(g)) / scale.to(g.device)


def _norms(gradients: Tensor) -> Tensor:
    return torch.stack([g.norm() for g in gradients])


def _weighted(weights: Tensor, gradients: Tensor) -> Tensor:
    return torch.einsum("i,i...->...", weights.to(gradients.dtype), gradients)


def _direction(gradients: Tensor) -> Tensor:
    """The mean of the gradients, each scaled to the norm of their mean."""
    scales = (gradients.mean(0).norm() + _TINY) / (_norms(gradients) + _TINY)
    return _weighted(scales, gradients) / len(gradients)
