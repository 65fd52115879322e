"""Bias correction."""

from __future__ import annotations

from typing import ClassVar

from optim_core.methods import hyper
from optim_core.rules import Inner, Value
from optim_core.wrapping import RuleWrapper


class BiasCorrection(RuleWrapper):
    """A switch for the bias correction of any method whose rule corrects by its count of steps.

    ``correct_bias=False`` calls the rule as if it were a million steps on: averages that begin at zero are taken as
    they are, so the first steps of an Adam are longer by (1 - beta1^t) / sqrt(1 - beta2^t). Warm-ups that a rule has by
    itself are over then, too. It is the option of that name in transformers' AdamW and in Grams.

    Raises:
        NotOffered: the base has no rule.

    Source: the paper of BERT's code, Devlin et al., 2018, https://arxiv.org/abs/1810.04805, whose Adam has none.
    """

    of_base: ClassVar[tuple[str, ...]] = ("step",)
    needs_rule: ClassVar[bool] = True

    correct_bias: bool = hyper(True, "False: leave the base's bias correction out")

    @staticmethod
    def rule(p: Value, g: Value, inner: Inner, *, step: Value, correct_bias: bool) -> Value:
        """The base's update."""
        return inner(p, g, step=step if correct_bias else step + 1_000_000).p
