"""Any wrappers around any optimizer under any scheduler: what there is to combine, and how it is put together.

All of it comes from the registry and from torch; which options there are follows from declarations.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from optim_core_multitask.rotations import Rotations
from torch import Tensor, nn
from torch.nn import Parameter

import optim_core
from optim_core import schedules
from optim_core.catalog.kinds import KINDS
from optim_core.optimizers import closures
from optim_core.optimizers.optimizer import RuleOptimizer
from optim_core.testing.problems import wave
from optim_core.torch_names import _classes
from support import methods
from support.wrappers import option_variants, takes_more_than_a_model

#: Longer than any phase in which a method may stand still, and than the periods of the wrappers' defaults.
STEPS = 12
#: How many of them are done when the state is saved: in the middle of those periods.
SAVED = 7
#: The highest rate to begin with: schedules go up to eight times as high (Chebyshev's), losses may be normalised.
MOST = 0.1


class Net(nn.Module):
    """Parameters of 0, 1, 2 and 4 dimensions, running statistics, two tasks; some get gradients late or never."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Tanh())
        self.rotations = Rotations(tasks=2, size=4, weighted=True)
        self.heads = nn.ModuleList([nn.Linear(4, 3), nn.Linear(4, 2)])
        self.gain = Parameter(torch.tensor(0.8))
        self.late = Parameter(0.1 * torch.ones(4))
        self.grown: Parameter | None = None

    def losses(self, t: int) -> list[Tensor]:
        """Those of batch t: smooth, with gradients that are bounded in the outputs."""
        dtype = self.gain.dtype
        z = self.features(wave((5, 2, 4, 4), 0.37, 0.9 * t).to(dtype)).mean((2, 3))
        if t % 4 > 1:
            z = z + self.late
        if self.grown is not None:
            z = z * self.grown
        outputs = [head(r) for head, r in zip(self.heads, self.rotations(self.gain * z), strict=True)]
        targets = [wave(y.shape, 0.53 + k, 0.4 * t).to(dtype) for k, y in enumerate(outputs)]
        return [((1 + (y - aim).square()).sqrt() - 1).mean() for y, aim in zip(outputs, targets, strict=True)]


# what there is -------------------------------------------------------------------------------------------------
def learns_alone(name: str) -> bool:
    """Whether one of torch's optimizers trains this model, in two groups, by itself."""
    try:
        Run.begun(Combination(name, by_factory=False), 0).train(range(2))
    except (RuntimeError, ValueError):
        return False
    return True


@functools.cache
def optimizers() -> tuple[str, ...]:
    """Names of all optimizers, and of those of torch that can do with this model (SparseAdam and LBFGS cannot)."""
    ours = [spec.name for spec in methods.optimizers()]
    theirs = [f"torch:{name}" for name in _classes(KINDS["optimizer"])]
    return (*ours, *filter(learns_alone, theirs))


@functools.cache
def wrappers() -> tuple[str, ...]:
    """Names of all wrappers."""
    names = [spec.name for spec in methods.wrappers()]
    return tuple(name for name in names if not takes_more_than_a_model(optim_core.get_wrapper(name)))


@functools.cache
def options_of(name: str) -> tuple[dict[str, Any], ...]:
    """Options of an optimizer worth trying: its defaults, each switch and choice changed, what its spec needs."""
    cls = optim_core.get(name)
    if not issubclass(cls, RuleOptimizer):
        return ({},)
    needed = {"total_steps": 4 * STEPS} if "total_steps" in optim_core.info(name).needs else {}
    return tuple(needed | options for options in option_variants(cls))


@functools.cache
def wrapper_options(name: str) -> tuple[dict[str, Any], ...]:
    """The same for a wrapper."""
    return tuple(option_variants(optim_core.get_wrapper(name)))


def defaults(cls: Any) -> dict[str, Any]:
    """What the options of a constructor are by default."""
    parameters = inspect.signature(cls).parameters.values()
    return {q.name: q.default for q in parameters if q.default is not q.empty}


# how it is put together ----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Combination:
    """What is built, and by which door."""

    optimizer: str
    options: Mapping[str, Any] = field(default_factory=dict)
    #: names and options, the innermost first
    around: Sequence[tuple[str, Mapping[str, Any]]] = ()
    scheduler: str | None = None
    #: by ``create_optimizer(model, ...)``; else by hand, of groups with rates of their own
    by_factory: bool = True
    #: a group that is added when all wrappers are there
    grows: bool = False
    #: whether the state is saved with the parameters at the point for evaluation
    evaluating: bool = False

    @property
    def names(self) -> list[str]:
        """The wrappers' names."""
        return [name for name, _ in self.around]

    @property
    def several_losses(self) -> bool:
        """Whether one of the wrappers makes one gradient of several losses."""
        return any("multi_loss" in optim_core.info(name, "wrapper").needs for name in self.names)

    def scheduler_of(self, optimizer: Any) -> Any:
        """The scheduler, if there is one."""
        return None if self.scheduler is None else schedules.example(methods.schedulers()[self.scheduler], optimizer)

    def optimizer_of(self, model: Net) -> Any:
        """The optimizer, with its wrappers."""
        extra = model.late if self.grows else None
        if extra is not None:
            extra.requires_grad_(False)  # the factory passes it by
        optimizer: Any = self._by_factory(model) if self.by_factory else self._by_hand(model, extra)
        if extra is not None:
            extra.requires_grad_(True)
            optimizer.add_param_group({"params": [("late", extra)]})
        return optimizer

    def _by_factory(self, model: Net) -> Any:
        return optim_core.create_optimizer(model, self.optimizer, wrappers=list(self.around), **self.options)

    def _by_hand(self, model: Net, extra: Tensor | None) -> Any:
        named = [(name, p) for name, p in model.named_parameters() if p is not extra]
        groups: list[dict[str, Any]] = [{"params": named[::2]}, {"params": named[1::2], "lr": 0.02}]
        optimizer: Any = optim_core.get(self.optimizer)(groups, **self.options)
        for name, options in self.around:
            cls: Any = optim_core.get_wrapper(name)
            optimizer = cls(optimizer, **cls.arguments_of(model), **options)
        return optimizer


@dataclass
class Run:
    """A combination at work on a model."""

    combination: Combination
    model: Net
    optimizer: Any
    scheduler: Any

    @classmethod
    def begun(cls, combination: Combination, seed: int) -> Run:
        """On a model with first values that belong to the seed."""
        model = fresh(seed)
        optimizer = combination.optimizer_of(model)
        for group in optimizer.param_groups:
            if group.get("lr") is not None:
                group["lr"] = min(group["lr"], MOST)
        return cls(combination, model, optimizer, combination.scheduler_of(optimizer))

    def unscheduled(self) -> Run:
        """The same without a scheduler."""
        return replace(self, scheduler=None)

    def closure(self, t: int) -> Callable[[], Any]:
        """What ``minimize`` gets: losses to descend, or, turned, to ascend."""
        sign = -1 if self.combination.options.get("maximize") else 1

        def evaluated() -> Any:
            losses = [sign * loss for loss in self.model.losses(t)]
            return losses if self.combination.several_losses else torch.stack(losses).sum()

        return evaluated

    def train(self, steps: range, *, scheduled: bool = True) -> list[Any]:
        """Some steps, and the losses before each."""
        seen = []
        for t in steps:
            seen.append(optim_core.minimize(self.optimizer, self.closure(t)))
            if self.scheduler is None or not scheduled:
                continue
            if self.combination.scheduler is None:
                self.scheduler.step()
            else:
                schedules.advance(methods.schedulers()[self.combination.scheduler], self.scheduler, metric=1.0)
        return seen

    def train_by_step(self, steps: range) -> None:
        """The same with torch's closure, which does everything, and without a scheduler."""
        for t in steps:
            evaluate = self.closure(t)

            def full(evaluate: Callable[[], Any] = evaluate) -> Tensor:
                self.optimizer.zero_grad()
                loss: Tensor = evaluate()
                closures.backward(loss, create_graph=getattr(self.optimizer, "needs_graph", False))
                return loss

            self.optimizer.step(full)

    def grow(self) -> None:
        """A parameter that comes into a model in training, and its group."""
        self.model.grown = Parameter(torch.ones(4))
        lr = float(self.optimizer.param_groups[0]["lr"])
        self.optimizer.add_param_group({"params": [("grown", self.model.grown)], "lr": lr})

    def state_dict(self) -> dict[str, Any]:
        """The state of all parts."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over that of another run."""
        for name, part in self._parts().items():
            part.load_state_dict(state_dict[name])

    def _parts(self) -> dict[str, Any]:
        parts = {"model": self.model, "optimizer": self.optimizer, "scheduler": self.scheduler}
        return {name: part for name, part in parts.items() if part is not None}


def weights(model: nn.Module) -> list[Tensor]:
    """Copies of all parameters and running statistics."""
    return [x.detach().clone() for x in model.state_dict().values()]


def fresh(seed: int) -> Net:
    """A model with first values that belong to the seed."""
    torch.manual_seed(seed)
    return Net()
