"""Needs: what a method may need besides gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

Need: TypeAlias = Literal[
    "closure",
    "create_graph",
    "multi_loss",
    "loss",
    "gradients",
    "total_steps",
    "betas",
    "metric",
    "named_params",
    "train_eval_mode",
]

#: Each need in words; `minimize` supplies the first five.
NEEDS: Mapping[Need, str] = {
    "closure": "evaluates the loss more than once a step",
    "create_graph": "differentiates the gradients: loss.backward(create_graph=True)",
    "multi_loss": "several losses: the closure returns a list",
    "loss": "the value of the loss at each step",
    "gradients": "gradients at the present weights, there before step(closure) evaluates the loss elsewhere",
    "total_steps": "the number of steps of the whole run",
    "betas": "an optimizer whose groups have betas",
    "metric": "a measured value, such as the validation loss: scheduler.step(metric)",
    "named_params": "parameters with their names: model.named_parameters()",
    "train_eval_mode": "optimizer.eval() before validating and saving, optimizer.train() (or minimize) to go on",
}
