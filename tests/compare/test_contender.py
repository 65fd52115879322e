from __future__ import annotations

import pytest

from optim_core.compare.contender import Contender, Part, parse
from optim_core.compare.errors import ContenderSyntaxError


def test_options_and_wrappers() -> None:
    found = parse("sgd,momentum=0.9,nesterov=true+sam,rho=0.1 + lookahead,k=5")
    assert found == Contender(
        Part("sgd", (("momentum", 0.9), ("nesterov", True))),
        (Part("sam", (("rho", 0.1),)), Part("lookahead", (("k", 5),))),
    )
    assert found.label == "sgd,momentum=0.9,nesterov=true+sam,rho=0.1+lookahead,k=5"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1e-3", 1e-3),
        ("1e+2", 100.0),
        ("-0.5", -0.5),
        ("True", True),
        ("none", None),
        ("mean", "mean"),
        ("'mean'", "mean"),
        ("(0.9,0.95)", (0.9, 0.95)),
        ("[1, 2]", (1, 2)),
    ],
)
def test_values(text: str, value: object) -> None:
    (option,) = parse(f"adam,x={text}").optimizer.options
    assert option == ("x", value)
    assert type(option[1]) is type(value)


def test_order_of_options_does_not_matter() -> None:
    assert parse("sgd,b=1,a=2").label == parse("sgd, a=2, b=1").label


@pytest.mark.parametrize("text", ["second_order:sophiah", "torch:adamw", "AdamW"])
def test_names(text: str) -> None:
    assert parse(text).optimizer == Part(text)


@pytest.mark.parametrize(
    ("text", "lrs"), [("adam,lr=1e-3", (1e-3,)), ("adam,lr=(0.1,0.01)", (0.01, 0.1)), ("adam", ())]
)
def test_learning_rates_of_its_own(text: str, lrs: tuple[float, ...]) -> None:
    found = parse(text)
    assert found.lrs == lrs
    assert found.label == "adam"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a name is missing"),
        ("sgd+", "a name is missing"),
        ("+sam", "a name is missing"),
        ("3sgd", "'3sgd' is not a name"),
        ("sgd,momentum", "cannot read 'momentum'"),
        ("sgd,momentum=", "options are key=value"),
        ("sgd,=3", "options are key=value"),
        ("sgd,a=1,a=2", "sets 'a' twice"),
        ("adam,betas=(0.9,0.95", "a bracket is not closed"),
        ("adam,betas=0.9)", "a bracket is not closed"),
        ("adam,betas=(0.9)x", "nothing may follow the bracket"),
        ("adam,lr=fast", "lr=fast is neither a number"),
        ("adam,lr=-1", "lr=-1 is neither a number"),
        ("adam,lr=()", "neither a number"),
        ("sgd+sam,lr=1", "belongs to the optimizer, not to the wrapper 'sam'"),
    ],
)
def test_errors_say_what_and_where(text: str, said: str) -> None:
    with pytest.raises(ContenderSyntaxError) as error:
        parse(text)
    assert said in str(error.value)
    assert repr(text) in str(error.value)
