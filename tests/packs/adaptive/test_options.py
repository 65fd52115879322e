"""Options that depend on each other, or that act on the model as a whole: what is settled, refused, warned of."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.small import equal, parameters, train
from torch.nn import Parameter

import optim_core
from optim_core.errors import InvalidOption, UnknownOption


def matrices(count: int) -> list[Parameter]:
    return parameters(*[(3, 4)] * count)


def build(name: str, **options: Any) -> Any:
    return optim_core.get(name)(matrices(2), **options)


@pytest.mark.parametrize(
    ("options", "lr", "relative"),
    [
        ({}, 1.0, True),
        ({"relative_step": True}, 1.0, True),
        ({"relative_step": None}, 1.0, True),
        ({"lr": None}, 1.0, True),
        ({"lr": 0.01}, 0.01, False),
        ({"lr": 0.01, "relative_step": False}, 0.01, False),
    ],
)
def test_adafactor_settles_its_step_size(options: dict[str, Any], lr: float, relative: bool) -> None:
    group = build("adafactor", **options).param_groups[0]
    assert (group["lr"], group["relative_step"]) == (lr, relative)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"lr": 0.01, "relative_step": True}, "relative_step=True finds lr by itself: leave out one of them"),
        ({"relative_step": False}, "relative_step=False needs a step size: add lr=1e-3, say"),
        ({"lr": 0.01, "warmup_init": True}, "warmup_init=True belongs to the relative step"),
    ],
)
def test_adafactor_refuses_contradictions(options: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidOption, match=text):
        build("adafactor", **options)


def test_adafactor_groups_may_differ() -> None:
    relative, fixed = matrices(2)
    optimizer = optim_core.get("adafactor")([{"params": [relative]}, {"params": [fixed], "lr": 0.01}])
    assert [g["relative_step"] for g in optimizer.param_groups] == [True, False]
    optimizer = optim_core.get("adafactor")([{"params": [relative]}, {"params": [fixed], "eps": (1e-8, 1e-3)}], lr=0.1)
    assert [(g["lr"], g["relative_step"]) for g in optimizer.param_groups] == [(0.1, False)] * 2


def test_adafactor_relative_step_follows_a_scheduler() -> None:
    optimizer = build("adafactor")
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: float(n > 0))
    before = optimizer.param_groups[0]["params"][0].detach().clone()
    train(optimizer)
    assert torch.equal(before, optimizer.param_groups[0]["params"][0])
    scheduler.step()
    train(optimizer)
    assert not torch.equal(before, optimizer.param_groups[0]["params"][0])


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("radam", {}, "nothing ever moves; raise betas"),
        ("adabelief", {}, "every step is a momentum step"),
        ("adabelief", {"degenerated_to_sgd": False}, "nothing ever moves"),
        ("adanorm", {"variant": "radam"}, "every step is a momentum step"),
        ("adanorm", {"rectify": True}, "every step is a momentum step"),
    ],
)
def test_betas_without_rectification_warn(name: str, options: dict[str, Any], text: str) -> None:
    with pytest.warns(UserWarning, match=f"with betas=.0.9, 0.6. the rectification never sets in .*{text}") as record:
        build(name, betas=(0.9, 0.6), **options)
    assert record[0].filename == __file__


@pytest.mark.parametrize(
    ("name", "options"),
    [("radam", {"degenerated_to_sgd": True}), ("adabelief", {"rectify": False}), ("adanorm", {})],
)
def test_betas_that_need_no_rectification(name: str, options: dict[str, Any]) -> None:
    build(name, betas=(0.9, 0.6), **options)


def test_adabelief_refuses_amsgrad_where_it_has_no_effect() -> None:
    with pytest.raises(InvalidOption, match="amsgrad=True has no effect on rectified steps: add rectify=False"):
        build("adabelief", amsgrad=True)


def test_prodigy_has_one_step_size() -> None:
    a, b = matrices(2)
    with pytest.raises(InvalidOption, match="Prodigy has one step size: give all groups lr=1, or 0 to freeze one"):
        optim_core.get("prodigy")([{"params": [a]}, {"params": [b], "lr": 0.5}])
    optimizer = optim_core.get("prodigy")([{"params": [a]}, {"params": [b], "lr": 0.0}])
    frozen = b.detach().clone()
    train(optimizer, 4)
    assert torch.equal(frozen, b)


def test_prodigy_frozen_group_counts_for_nothing() -> None:
    a, b = matrices(2)
    (alone,) = matrices(1)
    with_frozen = optim_core.get("prodigy")([{"params": [b], "lr": 0.0}, {"params": [a]}], d0=1e-3)
    without = optim_core.get("prodigy")([alone], d0=1e-3)
    train(with_frozen, 10)
    train(without, 10)
    torch.testing.assert_close(a, alone, rtol=1e-12, atol=0)
    torch.testing.assert_close(with_frozen.whole["d"], without.whole["d"], rtol=1e-12, atol=0)


def test_prodigy_ignores_steps_in_which_nothing_counts() -> None:
    late, usual = (
        build("prodigy", d0=1e-3, use_bias_correction=True),
        build("prodigy", d0=1e-3, use_bias_correction=True),
    )
    for group in late.param_groups:
        group["lr"] = 0.0
    train(late, 3)
    assert late.whole["k"] == 0
    for group in late.param_groups:
        group["lr"] = 1.0
    train(late, 10)
    train(usual, 10)
    for a, b in zip(late.param_groups[0]["params"], usual.param_groups[0]["params"], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=0)


def test_prodigy_slices_keep_less_state() -> None:
    optimizer = build("prodigy", slice_p=5)
    announced = optimizer.state_bytes()
    train(optimizer, 3)
    state = optimizer.state[optimizer.param_groups[0]["params"][0]]
    assert state["s"].shape == state["p0"].shape == (3,)
    assert announced == 2 * (12 + 12 + 3 + 3) * 8


@pytest.mark.parametrize(("name", "option"), [("prodigy", {"d0": 1e-3}), ("adan", {"max_grad_norm": 1.0})])
def test_options_of_the_whole_model_belong_to_the_constructor(name: str, option: dict[str, Any]) -> None:
    a, b = matrices(2)
    (key,) = option
    with pytest.raises(InvalidOption, match=rf"{key}=.* acts on the model as a whole: give it to the constructor"):
        optim_core.get(name)([{"params": [a]}, {"params": [b], **option}])
    optim_core.get(name)([{"params": [a]}, {"params": [b], **option}], **option)


@pytest.mark.parametrize("name", ["adan", "lamb"])
def test_gradient_norm_is_that_of_all_groups(name: str) -> None:
    together, apart = matrices(2), matrices(2)
    one = optim_core.get(name)(together, lr=0.1, max_grad_norm=0.5)
    two = optim_core.get(name)(
        [{"params": apart[:1], "weight_decay": 0.0}, {"params": apart[1:]}], lr=0.1, max_grad_norm=0.5
    )
    for optimizer in (one, two):
        train(optimizer, 3)
    for a, b in zip(together, apart, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=0)


def test_adamw_is_adam_with_decoupled_decay() -> None:
    w = build("adamw", lr=0.1, weight_decay=0.2)
    adam = build("adam", lr=0.1, weight_decay=0.2, decoupled_weight_decay=True)
    for optimizer in (w, adam):
        train(optimizer, 5)
    for a, b in zip(w.param_groups[0]["params"], adam.param_groups[0]["params"], strict=True):
        assert torch.equal(a, b)
    assert "decoupled_weight_decay" not in w.hypers


def test_names_of_other_libraries_are_recognised() -> None:
    with pytest.raises(UnknownOption, match=r"AdamW has no option 'lerning_rate'\. Did you mean 'lr'\?"):
        optim_core.get("adamw")([Parameter(torch.ones(2))], lerning_rate=3.0)


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("adabound", {"fixed_decay": True}, "fixed_decay=True means nothing for L2: add decoupled_weight_decay=True"),
        ("adai", {"betas": (0.1, 1.0)}, "the second must be < 1, it is a decay"),
        ("adanorm", {"fixed_decay": True}, "fixed_decay=True means nothing for L2: add decoupled_weight_decay=True"),
        (
            "adanorm",
            {"variant": "diffgrad", "amsgrad": True},
            "amsgrad=True is not for diffgrad: use adam or adabelief",
        ),
        ("adanorm", {"variant": "radam", "decoupled_weight_decay": False}, "radam decays decoupled: leave out"),
        ("adapnm", {"betas": (0.9, 1.0, 1.0)}, "the first two must be < 1, they are decays"),
    ],
)
def test_adaptive_methods_refuse_contradictions(name: str, options: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidOption, match=text):
        build(name, **options)
    optimizer = build(name)
    with pytest.raises(InvalidOption, match=text):
        optimizer.add_param_group({"params": matrices(1), **options})


def test_adabound_remembers_each_group_s_first_lr() -> None:
    a, b = matrices(2)
    optimizer = optim_core.get("adabound")([{"params": [a]}, {"params": [b], "lr": 0.02}], lr=0.01)
    optimizer.add_param_group({"params": matrices(1), "base_lr": 0.1})
    assert [group["base_lr"] for group in optimizer.param_groups] == [0.01, 0.02, 0.1]
    for group in optimizer.param_groups:
        group["lr"] *= 0.1
    other = optim_core.get("adabound")([{"params": [p]} for p in matrices(3)], lr=1.0)
    other.load_state_dict(optimizer.state_dict())
    assert [group["base_lr"] for group in other.param_groups] == [0.01, 0.02, 0.1]


@pytest.mark.parametrize("lr", [0.0, 0.01])
def test_adabound_without_bounds(lr: float) -> None:
    optimizer = build("adabound", lr=lr, gamma=0.0)
    train(optimizer, 2)
    for p, before in zip(optimizer.param_groups[0]["params"], matrices(2), strict=True):
        assert torch.equal(p, before) == (lr == 0)
        assert p.isfinite().all()


@pytest.mark.parametrize("name", ["adai", "adaiv2", "avagrad"])
def test_groups_do_not_change_what_belongs_to_the_model(name: str) -> None:
    together, (a, b) = build(name), matrices(2)
    apart = optim_core.get(name)([{"params": [a]}, {"params": [b]}])
    train(together, 5)
    train(apart, 5)
    assert equal(together.param_groups[0]["params"], (a, b))


def test_adais_is_adai_with_decoupled_decay() -> None:
    optimizers = build("AdaiS", weight_decay=0.1), build("adai", weight_decay=0.1, decoupled_weight_decay=True)
    for optimizer in optimizers:
        train(optimizer, 5)
    first, second = (optimizer.param_groups[0]["params"][0] for optimizer in optimizers)
    assert torch.equal(first, second)


@pytest.mark.parametrize("reduce", ["max", "none"])
def test_adashift_counts_squares_from_the_first_that_is_not_zero(reduce: str) -> None:
    (w,) = matrices(1)
    optimizer = optim_core.get("adashift")([w], lr=0.01, keep_num=1, reduce=reduce)
    path = [w.detach().clone()]
    for scale in (0, 0, 1, 1):
        optimizer.minimize(lambda scale=scale: scale * w.sum())
        path.append(w.detach().clone())
    assert torch.equal(path[3], path[0])  # the delayed squares are 0 so far
    torch.testing.assert_close(path[3] - path[4], torch.full_like(w, 0.01), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a2grad", {"variant": "exp", "per_element": True}),
        ("adashift", {"keep_num": 3, "reduce": "none"}),
        ("adanorm", {"variant": "diffgrad"}),
        ("adasmooth", {"window": 3}),
        ("amos", {"reduce": "rows", "momentum": 0.9}),
    ],
)
def test_state_that_follows_from_options_survives_a_checkpoint(name: str, options: dict[str, Any]) -> None:
    optimizer = build(name, **options)
    train(optimizer, 4)
    other = build(name, **options)
    assert optimizer.state_bytes() == sum(
        x.nbytes
        for state in optimizer.state.values()
        for value in state.values()
        for x in (value if isinstance(value, list) else [value])
        if isinstance(x, torch.Tensor)
    )
    pairs = list(zip(optimizer.param_groups[0]["params"], other.param_groups[0]["params"], strict=True))
    for p, q in pairs:
        q.data.copy_(p.data)
    other.load_state_dict(optimizer.state_dict())
    train(optimizer, 4)
    train(other, 4)
    assert all(torch.equal(p, q) for p, q in pairs)


@pytest.mark.parametrize("variant", ["uni", "inc", "exp"])
def test_a2grad_stands_still_at_the_end_of_a_schedule(variant: str) -> None:
    optimizer = build("a2grad", variant=variant)
    train(optimizer, 3)
    (p, _), group = optimizer.param_groups[0]["params"], optimizer.param_groups[0]
    before, group["lr"] = p.detach().clone(), 0.0
    train(optimizer)
    assert torch.equal(before, p)


@pytest.mark.parametrize(
    "options", [{"amsgrad": True}, {"rectify": True, "variant": "adabelief"}, {"variant": "radam"}]
)
def test_adanorm_withstands_a_zero_gradient_between_others(options: dict[str, Any]) -> None:
    (w,) = matrices(1)
    optimizer = optim_core.get("adamnorm")([w], **options)
    for scale in (1, 0, 1):
        optimizer.minimize(lambda scale=scale: scale * w.square().sum())
    assert w.isfinite().all()


def test_adanorm_s_correction_keeps_gradients_from_shrinking() -> None:
    (w,) = matrices(1)
    optimizer = optim_core.get("adanorm")([w], betas=(0.0, 0.999), r=0.5)
    optimizer.minimize(lambda: 1e3 * w.sum())
    optimizer.minimize(lambda: 1.0 * w.sum())
    state = optimizer.state[w]
    torch.testing.assert_close(state["exp_avg"].norm(), state["exp_grad_norm"])


def test_amos_guesses_a_scale_from_the_shape() -> None:
    shapes = {(): 0.5, (5,): 0.5, (3, 4): 0.5, (4, 2, 3, 3): 18**-0.5}
    for shape, eta in shapes.items():
        guessed, given = (Parameter(torch.full(shape, 0.3, dtype=torch.float64)) for _ in range(2))
        for w, options in ((guessed, {}), (given, {"eta": eta})):
            optimizer = optim_core.get("amos")([w], lr=0.1, **options)
            for _ in range(3):
                optimizer.minimize(lambda w=w: w.square().sum())
        torch.testing.assert_close(guessed, given, rtol=1e-12, atol=0)
