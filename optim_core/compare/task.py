"""Task: a model, its data, its loss and its score.

A task of one's own is a function that returns a `Task`; `optim-core compare --task my_module:my_task` runs it (the
current directory is searched for the module). This one is complete:

    import torch
    from optim_core.compare import Task

    def line(device: str = "cpu") -> Task:
        '''Fit y = 2 x + 1.'''
        x = torch.linspace(-1, 1, 256, device=device)[:, None]
        y = 2 * x + 1

        def batches(seed, epoch):                      # the same for every optimizer
            order = torch.randperm(256, generator=torch.Generator().manual_seed(1000 * seed + epoch))
            for index in order.to(device).split(32):
                yield x[index], y[index]

        def loss(model, batch):
            return torch.nn.functional.mse_loss(model(batch[0]), batch[1])

        def evaluate(model):                           # in eval mode, without gradients
            return torch.nn.functional.mse_loss(model(x), y).item()

        return Task(name="line", model=lambda: torch.nn.Linear(1, 1), batches=batches, loss=loss, evaluate=evaluate,
                    metric="mean squared error", goal="min", target=1e-3, epochs=10)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from optim_core.compare.errors import TaskError

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Task:
    """A model, its data, its loss and its score.

    Args:
        name: for tables and files.
        model: returns a new model; called with torch's global generator seeded, so equal seeds give equal weights.
        batches: `batches(seed, epoch)`, with `epoch` from 0, yields the batches of one epoch. It must depend on its
            arguments only. A batch is whatever `loss` understands.
        loss: `loss(model, batch)` is the training loss, a 0-dimensional tensor with a graph.
        evaluate: `evaluate(model)` is the score on data that is not trained on. Called before the first step and after
            each epoch, in eval mode and without gradients.
        metric: the name of the score.
        goal: "max" where a higher score is better, "min" where a lower one is.
        target: the score to reach, whose first crossing is timed; None for no target.
        epochs: length of a run unless the command line says otherwise.
        losses: `losses(model, batch)`, for methods that balance several losses (PCGrad); the first one must be
            comparable with `loss`: it is what the curve shows.
        percent: show scores (between 0 and 1) as per cent.
        about: a sentence for the report.

    Raises:
        TaskError: a field is missing, of the wrong kind, or out of range.
    """

    name: str
    model: Callable[[], nn.Module]
    batches: Callable[[int, int], Iterable[Any]]
    loss: Callable[[nn.Module, Any], Tensor]
    evaluate: Callable[[nn.Module], float]
    metric: str = "score"
    goal: Literal["max", "min"] = "max"
    target: float | None = None
    epochs: int = 10
    losses: Callable[[nn.Module, Any], Sequence[Tensor]] | None = None
    percent: bool = False
    about: str = ""

    def __post_init__(self) -> None:
        for name in ("model", "batches", "loss", "evaluate"):
            if not callable(getattr(self, name)):
                raise TaskError(f"task {self.name!r}: {name} must be a function, got {getattr(self, name)!r}")
        if self.losses is not None and not callable(self.losses):
            raise TaskError(f"task {self.name!r}: losses must be a function or None, got {self.losses!r}")
        if self.goal not in ("max", "min"):
            raise TaskError(f"task {self.name!r}: goal must be 'max' or 'min', got {self.goal!r}")
        epochs: object = self.epochs  # users' code is not always type-checked
        if not isinstance(epochs, int) or epochs < 1:
            raise TaskError(f"task {self.name!r}: epochs must be a whole number >= 1, got {epochs!r}")
        if self.target is not None and not isinstance(self.target, int | float):
            raise TaskError(f"task {self.name!r}: target must be a number or None, got {self.target!r}")
