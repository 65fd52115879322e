"""RotateOnly: tasks that each see the shared representation from an angle of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from optim_core.errors import ClosureError, InvalidOption, OptimCoreError, WrapperConflict
from optim_core.methods import hyper, memory_dtype
from optim_core.optimizers import backward, check_dense, count_ranks, mean_over_ranks, parameters
from optim_core_multitask.over_ranks import average_in_place
from optim_core_multitask.rotations import Rotations, rotated
from optim_core_multitask.task_gradients import direction, unscaled
from optim_core_multitask.tasks import MultiTask


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
        >>> import torch
        >>> from optim_core_multitask.rotations import Rotations
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
    #: The numbers of each task that are compared with their initial value.
    initials: ClassVar[tuple[str, ...]] = ("loss",)

    lr_rotation: float | None = hyper(None, "lr of the rotations; None: a tenth of the first group's", ge=0)
    burn_in_period: int = hyper(20, "step, from 0, at which initial values are measured again", ge=0)
    normalize_losses: bool = hyper(False, "train the heads on loss / size of the initial loss")

    @classmethod
    def arguments_of(cls, model: nn.Module) -> dict[str, Any]:
        """The model's rotations, if it has them once."""
        modules = [module for module in model.modules() if isinstance(module, Rotations)]
        return {"rotations": modules[0]} if len(modules) == 1 else {}

    def on_wrap(self) -> None:
        """Take the rotations over.

        Raises:
            InvalidOption: ``rotations`` is something else.
            WrapperConflict: the base refuses a group for them.
        """
        if not isinstance(self.rotations, Rotations):
            raise InvalidOption(
                f"{self.method.name}: rotations={type(self.rotations).__name__} should be the model's "
                "optim_core_multitask.rotations.Rotations"
            )
        super().on_wrap()
        self.counters["steps"] = 0
        self.counters.update({f"{name}_of_step": -1 for name in self.initials})
        own: dict[Tensor, str] = {p: f"rotations.{name}" for name, p in self.rotations.named_parameters()}
        groups = [group for group in self.param_groups if group["params"] and all(p in own for p in group["params"])]
        if not groups:
            self._add_group(own)
        elif self.options["lr_rotation"] is not None:
            raise InvalidOption(
                f"{self.method.name}: the rotations have a group of their own, with lr={groups[0]['lr']:g}: leave "
                "lr_rotation out"
            )
        self.rotations.take_over()

    def _add_group(self, own: dict[Tensor, str]) -> None:
        """Move the rotations' parameters, given with names, from the groups that have them to a new one."""
        named = all("param_names" in group for group in self.param_groups)
        before = [dict(group) for group in self.param_groups]
        for group in self.param_groups:
            others = [i for i, p in enumerate(group["params"]) if p not in own]
            if named:
                own |= {p: n for p, n in zip(group["params"], group["param_names"], strict=True) if p in own}
                group["param_names"] = [group["param_names"][i] for i in others]
            group["params"] = [group["params"][i] for i in others]
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

    def start_memory(self, params: Sequence[Tensor]) -> None:
        """Initial numbers to come."""
        super().start_memory(params)
        for p in self.rotations.generators:
            for name in self.initials if any(p is q for q in params) else ():
                self.memory[p].setdefault(name, torch.zeros((), dtype=memory_dtype(p), device=p.device))

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
        values = mean_over_ranks(torch.stack([loss.detach().reshape(()) for loss in losses]), self)
        initial = self.initial("loss", values)
        self._through_the_heads(losses, initial, scale)
        h, q = [x.grad for x in last.copies], [x.grad for x in last.rotated]
        pairs = [(a, b) for a, b in zip(h, q, strict=True) if a is not None and b is not None]
        if len(pairs) < len(h):
            raise ClosureError(f"{self.method.name}: a task's loss does not depend on what rotations(z) gave it")
        gradients = torch.stack([unscaled(a, scale) for a, _ in pairs])
        self._turn_towards(direction(gradients, self), [unscaled(b, scale) for _, b in pairs])
        shared = self.shared(gradients, values / initial)
        if scale is not None:
            shared = (shared * scale.to(shared.device)).to(last.z.dtype)
            for p in self.rotations.parameters():
                if p.grad is not None:
                    p.grad.mul_(scale.to(p.device))
        if last.z.requires_grad:
            last.z.backward(shared)  # type: ignore[no-untyped-call]
        average_in_place([p for p in parameters(self) if p.requires_grad], self)

    def _through_the_heads(self, losses: Sequence[Tensor], initial: Tensor, scale: Tensor | None) -> None:
        self.zero_grad()
        for i, loss in enumerate(losses):
            scaled = loss / initial[i].abs().to(loss.dtype) if self.options["normalize_losses"] else loss
            scaled = scaled if scale is None else scaled * scale.to(loss.device)
            backward(scaled, create_graph=False, retain_graph=i < len(losses) - 1)
        for p in parameters(self):
            check_dense(p, self.method.name)

    def shared(self, gradients: Tensor, progress: Tensor) -> Tensor:
        """The gradient by the shared representation that the backbone gets.

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
            gradients = torch.autograd.grad(torch.stack(distances).sum(), generators)
        for p, g in zip(generators, gradients, strict=True):
            p.grad = g / count_ranks(self)  # by the mean of all ranks' losses, the gradients are that much smaller

    def initial(self, name: str, now: Tensor) -> Tensor:
        """A number of each task as it was at the first step, or at the end of the burn-in: [tasks].

        Args:
            name: its name in ``memory``.
            now: what it is at present.
        """
        step, since = self.counters["steps"], self.counters[f"{name}_of_step"]
        anew = (
            since < 0
            # a step may have a second evaluation (SAM), which is at other weights
            or (step == self.options["burn_in_period"] and since != step)
            # one that GradScaler has left out may have begun with inf or nan
            or (step == since and not bool(self._stacked(name).isfinite().all()))
        )
        if anew:
            self.counters[f"{name}_of_step"] = step
            for p, value in zip(self.rotations.generators, now, strict=True):
                self.memory[p][name] = value.clone()
        return self._stacked(name)

    def _stacked(self, name: str) -> Tensor:
        return torch.stack([self.memory[p][name] for p in self.rotations.generators])
