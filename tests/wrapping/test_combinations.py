"""Any wrappers around any optimizer under any scheduler: they train, save, resume and copy, or are refused at once.

Everything is drawn from what is installed; nothing here knows a name. `nox -s combinations` draws thousands.
"""

from __future__ import annotations

import copy
import functools
import itertools
import os
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, event, given, seed, settings
from hypothesis import strategies as st
from support import combinations
from support.combinations import SAVED, STEPS, Combination, Net, Run, fresh, weights
from support.methods import schedulers
from support.small import copies, equal, finite, pickled, reloaded
from support.wrappers import around
from torch import Tensor

import optim_core
from optim_core.errors import InvalidOption, OptimCoreError, UnknownOption, WrapperConflict
from optim_core.schedules import option_of
from optim_core.schedules.option import OptionView
from optim_core.wrapping.wrapper import Wrapper

pytestmark = pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")

#: Each shard draws by a seed of its own, the same ones at every run; more shards draw more.
SHARDS = int(os.environ.get("OPTIM_CORE_COMBINATIONS", "4"))
EXAMPLES = 30
#: Steps in which weights must have moved: some methods begin with rest, which a wrapper may prolong.
LONG = 100


def often_the_first(options: Sequence[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """The usual options half of the time: others more often go with few only."""
    return st.one_of(st.just(options[0]), st.sampled_from(options))


@st.composite
def any_combination(draw: st.DrawFn) -> Combination:
    """Any of those that can be written down, whether they make sense or not."""
    optimizer = draw(st.sampled_from(combinations.optimizers()))
    names = draw(st.lists(st.sampled_from(combinations.wrappers()), max_size=3, unique=True))
    return Combination(
        optimizer,
        draw(often_the_first(combinations.options_of(optimizer))),
        [(name, draw(often_the_first(combinations.wrapper_options(name)))) for name in names],
        draw(st.sampled_from([None, *schedulers()])),
        by_factory=draw(st.booleans()),
        grows=draw(st.booleans()),
        evaluating=draw(st.booleans()),
    )


@pytest.mark.parametrize("shard", range(SHARDS))
def test_any_combination(shard: int) -> None:
    outcomes = []

    @seed(shard)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(any_combination())
    def check(combination: Combination) -> None:
        outcomes.append(refusal(combination))
        event(f"refused: {outcomes[-1]}" if outcomes[-1] else f"{len(combination.names)} wrappers")
        if not outcomes[-1]:
            goes_all_the_way(combination)

    check()
    assert outcomes.count("") > len(outcomes) / 4, outcomes


def refusal(combination: Combination) -> str:
    """Who is in each other's way, so that the combination is refused at construction; "" if nobody is."""
    try:
        optimizer = combination.optimizer_of(fresh(0))
    except (WrapperConflict, InvalidOption) as refused:
        known = [optim_core.get(combination.optimizer), *map(optim_core.get_wrapper, combination.names)]
        named = [cls.__name__ for cls in known if cls.__name__ in str(refused)]  # type: ignore[attr-defined]
        if not named:
            raise
        return " and ".join(sorted(named))
    try:
        combination.scheduler_of(optimizer)
    except (InvalidOption, UnknownOption):  # there may be no such option to set
        return str(combination.scheduler)
    except ValueError:  # torch's own schedulers have no other
        if not schedulers()[str(combination.scheduler)].target.startswith("torch."):
            raise
        return str(combination.scheduler)
    return ""


def goes_all_the_way(combination: Combination) -> None:
    """Does all that a run can ask for."""
    run = Run.begun(combination, 0)
    before = copies(run.model.parameters())
    shares_groups(run)
    begins(run)
    resumes(run)
    goes_on_in_copies(run)
    for t in range(STEPS + 2, LONG):
        if not rests(run, before):
            break
        run.train(range(t, t + 1), scheduled=False)
    may_rest = any(optim_core.info(name, "wrapper").shortfall for name in run.combination.names)
    assert may_rest or not rests(run, before)
    run.optimizer.zero_grad()
    assert all(p.grad is None for p in run.model.parameters())
    grows(run)


def begins(run: Run) -> None:
    """Each call is a step, and returns the losses before it."""
    losses = copy.deepcopy(run.model).losses(0)
    steps: list[int] = []
    handle = run.optimizer.register_step_post_hook(lambda *_: steps.append(1))
    first, *_ = run.train(range(SAVED))
    handle.remove()
    assert len(steps) == SAVED
    name, around = run.combination.optimizer, map(optim_core.get_wrapper, run.combination.names)
    random = getattr(optim_core.get(name), "random", False) and "closure" in optim_core.info(name, "optimizer").needs
    if random or any(wrapper.estimates for wrapper in around):  # type: ignore[attr-defined]
        return  # the loss is evaluated at points that are drawn
    if run.combination.several_losses:
        same([abs(x) for x in first], losses)
    else:
        same([abs(first)], [torch.stack(losses).sum()])


def resumes(run: Run) -> None:
    """Another one, that began elsewhere, goes on from a file as this one does without."""
    if run.combination.evaluating and hasattr(run.optimizer, "eval"):
        run.optimizer.eval()
    other, saved = Run.begun(run.combination, 1), reloaded(run.state_dict())
    other.load_state_dict(saved)
    for one in (run, other):
        one.train(range(SAVED, STEPS))
        shares_groups(one)
        follows(one)
    assert finite(weights(run.model))
    same(weights(other.model), weights(run.model))


def goes_on_in_copies(run: Run) -> None:
    """Copies in memory and by pickle go on alike; torch's closure does as well as ``minimize``."""
    twins = copy.deepcopy(run.unscheduled()), pickled(run.unscheduled())
    more = range(STEPS, STEPS + 2)
    run.train(more, scheduled=False)
    twins[0].train(more, scheduled=False)
    if run.combination.several_losses:
        twins[1].train(more, scheduled=False)
    else:
        twins[1].train_by_step(more)
    for twin in twins:
        same(weights(twin.model), weights(run.model))


def grows(run: Run) -> None:
    """A parameter may join in mid-flight, and is saved and resumed as the others are."""
    other = Run.begun(run.combination, 2)
    for one in (run, other):
        one.grow()
    run.train(range(2), scheduled=False)
    other.load_state_dict(reloaded(run.state_dict()))
    for one in (run, other):
        one.train(range(2, 4), scheduled=False)
    same(weights(other.model), weights(run.model))
    shares_groups(other)


def same(got: Sequence[Tensor], wanted: Sequence[Tensor]) -> None:
    """Equal to the last bit; what is not a number, too: a large rate may end so, a few steps on."""
    for x, y in zip(got, wanted, strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=0, equal_nan=True)


def rests(run: Run, before: Sequence[Tensor]) -> bool:
    return equal(before, run.model.parameters())


def innermost(optimizer: Any) -> Any:
    return optimizer.innermost if isinstance(optimizer, Wrapper) else optimizer


def shares_groups(run: Run) -> None:
    """There is one list of groups, with every parameter once; and all that is in force is told, in order."""
    groups = innermost(run.optimizer).param_groups
    layer = run.optimizer
    while isinstance(layer, Wrapper):
        assert layer.param_groups is groups
        assert layer.state is innermost(run.optimizer).state
        layer = layer.base
    names = [optim_core.get_wrapper(name).__name__ for name in run.combination.names]  # type: ignore[attr-defined]
    rows = list(optim_core.explain(run.optimizer))
    assert len(rows) == sum(len(group["params"]) for group in groups) == len({row.name for row in rows})
    assert all([text.partition("(")[0] for text in row.wrappers] == names for row in rows)


def follows(run: Run) -> None:
    """What the scheduler says is what the method goes by."""
    if run.scheduler is not None:
        sets = optim_core.info(run.combination.scheduler, kind="scheduler").sets
        by_view = isinstance(run.scheduler.optimizer, OptionView)  # others, such as proportion, tell of the rates
        groups = option_of(run.optimizer, sets if by_view else "lr").param_groups
        assert run.scheduler.get_last_lr() == [group["lr"] for group in groups]


# how much is possible ------------------------------------------------------------------------------------------
def possible(optimizer: str, *names: str) -> bool:
    """Whether wrappers can go around an optimizer, which does without a weight decay of its own if it has to."""
    model = Net()
    base: Any = optim_core.get(optimizer)(model.named_parameters())
    try:
        for name in names:
            base = around(base, name, within=model)
    except OptimCoreError:
        return False
    return True


@functools.cache
def pairs() -> dict[tuple[str, str], bool]:
    """Which wrapper goes around which optimizer."""
    return {
        (optimizer, name): possible(optimizer, name)
        for optimizer, name in itertools.product(combinations.optimizers(), combinations.wrappers())
    }


def share(found: Sequence[bool]) -> float:
    return sum(found) / len(found)


def test_nearly_every_wrapper_goes_around_nearly_every_optimizer() -> None:
    assert share(list(pairs().values())) > 0.8
    refused = [f"{name} around {optimizer}" for (optimizer, name), goes in pairs().items() if not goes]
    for optimizer in combinations.optimizers():
        assert share([pairs()[optimizer, name] for name in combinations.wrappers()]) > 0.3, refused
    for name in combinations.wrappers():
        assert any(pairs()[optimizer, name] for optimizer in combinations.optimizers()), refused


def test_most_wrappers_go_around_each_other() -> None:
    best = max(
        combinations.optimizers(), key=lambda optimizer: sum(pairs()[optimizer, n] for n in combinations.wrappers())
    )
    found = {names: possible(best, *names) for names in itertools.permutations(combinations.wrappers(), 2)}
    assert share(list(found.values())) > 0.8, [names for names, goes in found.items() if not goes]
    for name in combinations.wrappers():
        assert share([goes for names, goes in found.items() if name in names]) > 0.5, name


# torch's own ---------------------------------------------------------------------------------------------------
@functools.cache
def twins() -> dict[str, dict[str, Any]]:
    """Optimizers of torch that take the same steps as ours of that name; the options that both have, as in torch."""
    found = {}
    for name in (name.partition(":")[2] for name in combinations.optimizers() if name.startswith("torch:")):
        try:
            ours: Any = optim_core.get(name)
        except LookupError:
            continue
        signature = combinations.defaults(optim_core.get(f"torch:{name}"))
        options = {key: value for key, value in signature.items() if key in ours.hypers and value is not None}
        try:
            ends = [stepped(optimizer, options) for optimizer in (f"torch:{name}", name)]
        except InvalidOption:
            continue
        if all(torch.allclose(x, y, rtol=1e-9, atol=1e-12) for x, y in zip(*ends, strict=True)):
            found[name] = options
    return found


def stepped(optimizer: str, options: dict[str, Any], *names: str) -> list[Tensor]:
    """The weights after some steps in double precision, which show a difference in the formula."""
    model = fresh(0).double()
    base: Any = optim_core.get(optimizer)(model.named_parameters(), **options)
    for name in names:
        base = around(base, name, within=model)
    combination = Combination(optimizer, {}, [(name, {}) for name in names])
    Run(combination, model, base, torch.optim.lr_scheduler.ExponentialLR(base, 0.9)).train(range(STEPS))
    return weights(model)


def test_there_are_twins() -> None:
    assert len(twins()) >= 5


@pytest.mark.parametrize("name", combinations.wrappers())
def test_around_torch_s_optimizers_as_composed_with_ours(name: str) -> None:
    tried = 0
    for optimizer, options in twins().items():
        if not (possible(optimizer, name) and possible(f"torch:{optimizer}", name)):
            continue
        tried += 1
        ends = [stepped(which, options, name) for which in (f"torch:{optimizer}", optimizer)]
        for x, y in zip(*ends, strict=True):
            torch.testing.assert_close(x, y, rtol=1e-8, atol=1e-11, msg=lambda text, o=optimizer: f"{o}: {text}")
    if not tried:
        assert not any(goes for (optimizer, wrapper), goes in pairs().items() if wrapper == name and ":" in optimizer)
