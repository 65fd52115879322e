"""What rules say wrongly, and the word that they are told to use instead."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import optim_core
from optim_core import RuleOptimizer, hyper, rules, state
from optim_core.errors import RuleError
from optim_core.rules import Level, Trace, Value
from optim_core.rules.remedies import _OTHERS, _WORDS, instead_of


def symbols() -> tuple[Value, Value]:
    trace = Trace({"lr": 0.1})
    return trace.input("g", Level.ELEMENT), trace.input("v", Level.ELEMENT)


WRONG = {
    "a torch function": (lambda g, v: torch.sqrt(v), r"torch's sqrt takes tensors.*write sqrt\(x\)"),
    "a torch function of two": (torch.maximum, r"write maximum\(a, b\) of optim_core\.rules"),
    "a torch function of a list": (lambda g, v: torch.stack([g, v]), r"marked @stacked\(\.\.\.\)"),
    "torch.where": (lambda g, v: torch.where(g > 0, g, v), r"write where\(condition, a, b\)"),
    "torch.zeros_like": (lambda g, v: torch.zeros_like(g), r"write 0\.0"),
    "a matrix function": (lambda g, v: torch.linalg.svd(g), r"marked @stacked\(\.\.\.\)"),
    "a tensor before": (lambda g, v: torch.ones(2) * g, r"torch's \w*mul\w* takes tensors.*write a \* b"),
    "a tensor behind": (lambda g, v: g * torch.ones(2), "a rule works on its arguments and numbers, not on Tensor"),
    "a numpy function": (lambda g, v: np.sqrt(v), r"numpy's sqrt takes arrays.*write sqrt\(x\) of optim_core\.rules"),
    "a numpy power": (lambda g, v: np.power(g, 2), r"write a\*\*b"),
    "an array before": (lambda g, v: np.ones(2) * g, r"write a \* b"),
    "a numpy reduction": (lambda g, v: np.sum(g), "write mean"),
    "a numpy array": (lambda g, v: np.asarray(g), "no array comes of it"),
    "a numpy norm": (lambda g, v: np.linalg.norm(g), r"write norm\(x\) of optim_core\.rules"),
    "math": (lambda g, v: math.sqrt(v), r"use the words of optim_core\.rules, such as sqrt\(x\) for math\.sqrt\(x\)"),
    "a method": (lambda g, v: v.sqrt(), r"v has no 'sqrt'.*write sqrt\(x\) of optim_core\.rules"),
    "a method in place": (lambda g, v: v.mul_(0.9), r"write a \* b, and return the new value: a rule"),
    "addcmul_": (lambda g, v: v.addcmul_(g, g, value=0.1), r"write a \+ value \* b \* c, and return the new value"),
    "a sum": (lambda g, v: g.sum(), r"write mean\(x\) \* size\(x\), or total\(x\)"),
    "a shape": (lambda g, v: g.shape, r"write size\(x\) of optim_core\.rules, or x\.ndim"),
    "an item": (lambda g, v: g.item(), "write x itself"),
    "a strange method": (lambda g, v: g.svd(), r"marked @stacked\(\.\.\.\)"),
    "a product of matrices": (lambda g, v: g @ v, r"a rule has no `@`: dot\(a, b\)"),
    "a whole quotient": (lambda g, v: g // 2, r"a rule has no `//`: write a / b"),
    "exclusive or": (lambda g, v: g ^ 2, r"a rule has no `\^`: write a\*\*b for a power"),
    "an element": (lambda g, v: g[0], r"a rule has no `\[\.\.\.\]`.*where\(condition, a, b\), or sample"),
    "an assignment": (lambda g, v: g.__setitem__(0, 0.0), r"write where\(condition, a, b\) of .*, and return"),
    "a length": (lambda g, v: len(g), r"write size\(x\)"),
    "a norm of a number": (lambda g, v: rules.norm(1.0), r"norm takes symbols, such as g or a state, not 1\.0"),
    "a total of a number": (lambda g, v: rules.total(1.0), "total takes symbols"),
    "a bad extent": (lambda g, v: rules.norm(g, over="rows"), "over='rows' is not one of 'row', 'tensor'"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_a_rule_says_wrongly_is_answered_with_the_word_for_it(what: str) -> None:
    wrong: Any
    wrong, told = WRONG[what]
    with pytest.raises(RuleError, match=told):
        wrong(*symbols())


def test_the_words_that_are_named_exist() -> None:
    assert all(hasattr(rules, word) for word in _WORDS)
    for name, remedy in _OTHERS.items():
        assert name == name.strip("_")
        if "of optim_core.rules" in remedy:
            words = [word for word in rules.__all__ if f"{word}(" in remedy or f" {word}" in remedy]
            assert words, remedy


def test_python_s_own_protocols_work() -> None:
    g, v = symbols()
    assert not hasattr(g, "sqrt")
    assert not hasattr(g, "__array_interface__")
    assert repr(g + v) == "add(g, v)"
    assert instead_of("mul") == "write a * b"


def rule_of(body: Any, **declared: Any) -> RuleOptimizer:
    class Own(RuleOptimizer):
        lr: float = hyper(0.1, "step size", ge=0)
        m = state("average")
        rule = staticmethod(body)

    return Own([nn.Parameter(torch.ones(2))], engine="eager")


def step(optimizer: RuleOptimizer) -> None:
    (w,) = optimizer.param_groups[0]["params"]
    optimizer.minimize(lambda: 1.0 * w.sum())


def test_a_rule_without_return() -> None:
    def body(p: Any, g: Any, m: Any, *, lr: Any) -> None:
        m += g

    with pytest.raises(
        RuleError, match=r"returns nothing: end it with `return new_p, m`, the new values in this order"
    ):
        step(rule_of(body))


def test_a_rule_with_a_torch_function_changes_nothing() -> None:
    def body(p: Any, g: Any, m: Any, *, lr: Any) -> Any:
        return p - lr * torch.sign(g), m

    optimizer = rule_of(body)
    with pytest.raises(RuleError, match=r"write sign\(x\) of optim_core\.rules"):
        step(optimizer)
    assert optimizer.param_groups[0]["params"][0].tolist() == [1.0, 1.0]


def test_a_method_without_rule() -> None:
    class Bare(RuleOptimizer):
        lr: float = hyper(0.1, "step size", ge=0)
        m = state("average")

    with pytest.raises(RuleError, match=r"Bare has no rule: write `@staticmethod def rule\(p, g, m, \*, lr\)`"):
        step(Bare([nn.Parameter(torch.ones(2))]))


def test_a_type_for_a_state_that_engines_read() -> None:
    with pytest.raises(RuleError, match=r"stored='uint8' is for states with a shape of their own: give shape="):
        optim_core.state("codes", stored="uint8")


@pytest.mark.parametrize("level", ["rows", 3, None])
def test_a_bad_level(level: Any) -> None:
    with pytest.raises(RuleError, match=r"is not one of 'element', 'row', 'tensor', 'whole'"):
        optim_core.state("average", level=level)

    class Late(RuleOptimizer):
        lr: float = hyper(0.1, "step size", ge=0)
        m = state("average", level=lambda group: level)

        @staticmethod
        def rule(p: Any, g: Any, m: Any, *, lr: Any) -> Any:
            return p - lr * g, m

    with pytest.raises(RuleError, match=r"state 'm': level="):
        step(Late([nn.Parameter(torch.ones(2))]))
