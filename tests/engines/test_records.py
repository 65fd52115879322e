"""The records of engines, and what follows from them."""

from __future__ import annotations

import inspect
import typing

from optim_core.engines import choice
from optim_core.optimizers import RuleOptimizer
from optim_core.optimizers.optimizer import Engine


def test_the_names_of_engines_are_those_of_their_records() -> None:
    parameters = inspect.signature(RuleOptimizer).parameters
    assert typing.get_args(parameters["engine"].annotation) == choice.NAMES
    assert typing.get_args(Engine) == choice.NAMES  # what type checkers read
