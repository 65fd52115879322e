"""Every method follows the trajectories in `golden/`, which were measured by running the authors' own code.

Nothing here knows a method: how it is built and driven follows from its spec and from the case.
"""

from __future__ import annotations

import inspect
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
import torch
from support import golden
from support.requirements import needs_triton
from torch import Tensor
from torch.optim import lr_scheduler

import optim_core
from optim_core.errors import ClosureError, LossMissing
from optim_core.methods.states import layout_of
from optim_core.optimizers import closures
from optim_core.schedules import advance, trial_group, values
from optim_core.testing.problems import PROBLEMS, Problem, problem_of, wave

pytestmark = pytest.mark.filterwarnings("ignore::optim_core.errors.NonCommercialWarning")


#: The parameters of the problem `net`, in order.
NET = ("conv.weight", "conv.bias", "fc.weight", "fc.bias", "gain")

#: How a case is run: by which way of taking a step, and with which settings of the optimizer.
WAYS = [
    pytest.param("minimize", {"foreach": True}, id="list"),
    pytest.param("minimize", {"foreach": False}, id="tensor by tensor"),
    pytest.param("minimize", {"engine": "native"}, id="native"),
    pytest.param("minimize", {"engine": "triton"}, id="triton", marks=needs_triton),
    pytest.param("minimize", {}, id="minimize"),
    pytest.param("step", {}, id="step"),
    pytest.param("closure", {}, id="closure"),
]

#: Of these, lists of tensors and compiled loops.
SOME_WAYS = [way for way in WAYS if way.id in ("list", "native")]


def tuples(x: Any) -> Any:
    """JSON has no tuples; lists stand for them."""
    if isinstance(x, list):
        return tuple(map(tuples, x))
    return {k: tuples(v) for k, v in x.items()} if isinstance(x, dict) else x


def cases(holding: str) -> list[Any]:
    """Name and case of every case that holds "params" (trajectories) or "lrs" (schedules)."""
    # other problems need a model of their own, and are followed where that is tested
    return [
        pytest.param(name, {**case, "kwargs": tuples(case["kwargs"])}, id=f"{name}-{case['case']}")
        for name, case in golden.cases()
        if holding in case and case.get("problem") in {None, *PROBLEMS}
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The files are read when tests are collected, not when this module is imported.

    The first case of each method is run in every way, engine and type, the others in one of two ways that have no step
    in common; ``nox -s golden`` runs all in every way.
    """
    found = cases("lrs" if metafunc.function is test_schedule else "params")
    firsts = {case.values[0]: case.id for case in reversed(found)}.values()
    everything = os.environ.get("OPTIM_CORE_GOLDEN") == "all" or metafunc.function is test_schedule
    if metafunc.function is test_trajectory:
        pairs = [
            (case, way)
            for i, case in enumerate(found)
            for way in (WAYS if everything or case.id in firsts else SOME_WAYS[i % 2 :][:1])
        ]
        each = [
            pytest.param(*case.values, *way.values, id=f"{case.id}-{way.id}", marks=way.marks) for case, way in pairs
        ]
        metafunc.parametrize(("name", "case", "drive", "settings"), each)
    else:
        metafunc.parametrize(("name", "case"), [case for case in found if everything or case.id in firsts])


# building ------------------------------------------------------------------------------------------------------
def build(name: str, params: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The optimizer or wrapper of a case, from its spec."""
    spec = optim_core.info(name)
    kwargs = spread(kwargs)
    if spec.kind == "wrapper":
        own = {k: v for k, v in kwargs.items() if k not in ("base", "base_kwargs")}
        return optim_core.get_wrapper(name)(build(kwargs["base"], params, kwargs["base_kwargs"]), **own)
    if spec.kind == "scheduler":
        return build(kwargs["base"], params, kwargs["base_kwargs"])
    cls = optim_core.get(name)
    constructors = [cls, *(getattr(cls, other) for other in spec.constructors)]
    fitting = [make for make in constructors if set(kwargs) <= set(inspect.signature(make).parameters)]
    return fitting[0](params, **kwargs) if fitting else cls(params, **kwargs)


def spread(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a part of a method, such as ``{"adam": {"lr": 0.1}}``, under their own names: ``adam_lr``."""
    flat: dict[str, Any] = {}
    for name, value in kwargs.items():
        inner = isinstance(value, Mapping) and name != "base_kwargs"
        flat |= {f"{name}_{key}": x for key, x in value.items()} if inner else {name: value}
    return flat


def options(name: str, case: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a case; a word of its label that is the name of a switch turns that on."""
    getters = {"wrapper": optim_core.get_wrapper, "scheduler": optim_core.get_scheduler, "optimizer": optim_core.get}
    hypers = getters[optim_core.info(name).kind](name).hypers
    words = {word for word in case["case"].split("-") if word in hypers and hypers[word].default is False}
    drives = set(re.findall(r"\w+=(lr_\w+)", case.get("how", "")))  # of the scheduler, see below
    chosen = {name: value for name, value in case["kwargs"].items() if name not in {*drives, *BLOCKS}}
    if set(BLOCKS) & set(case["kwargs"]) and "is a group of its own" not in case["how"]:
        chosen["blocks"] = " ".join(
            text(case["kwargs"][name]) for name, text in BLOCKS.items() if name in case["kwargs"]
        )
    return dict.fromkeys(words, True) | chosen


#: What the authors' code has for the option ``blocks``.
BLOCKS: dict[str, Callable[[Any], str]] = {
    "batched": lambda on: "batch" if on else "",
    "split_sizes": lambda sizes: f"rows:{'+'.join(map(str, sizes))}",
    "num_heads": lambda heads: f"rows/{heads}",
}


def given(params: Sequence[Tensor], case: Mapping[str, Any]) -> list[Any]:
    """The parameters as the optimizer gets them: in groups, or with names, if the case says so."""
    text = r"two groups: ([\w.]+) and ([\w.]+) with (\w+)=(True|False), the other \w+ parameters with \3=(True|False)"
    if sorting := re.search(text, case.get("how", "")):
        first = [name in sorting.group(1, 2) for name in NET]
        return [
            {
                "params": [p for p, is_first in zip(params, first, strict=True) if is_first is mine],
                sorting[3]: value == "True",
            }
            for mine, value in ((True, sorting[4]), (False, sorting[5]))
        ]
    if "groups" in case:
        return [{**group, "params": [params[i] for i in group["params"]]} for group in case["groups"]]
    if attention(case):
        roles = dict(zip(attention(case)[:2], ("query", "key"), strict=True))
        layer = [{"params": [params[i]], "qk_clip": roles[i]} for i in roles]
        return [{"params": [p for i, p in enumerate(params) if i not in roles]}, *layer]
    own = re.search(
        r"Each matrix is a group of its own; (\w+) in kwargs lists their values in order", case.get("how", "")
    )
    if own:
        values = iter(case["kwargs"][own[1]])
        cut = [{"params": [p], "blocks": BLOCKS[own[1]](next(values))} for p in params if p.ndim > 1]
        return [*cut, {"params": [p for p in params if p.ndim < 2]}]
    text = r"(?:names given to the optimizer, in order:|parameters are (?:named|given the names)) ([\w.]+(?:, [\w.]+)*)"
    found = re.search(text, case.get("how", ""))
    names = found[1].split(", ") if found else problem_of(case).names
    return list(zip(names, params, strict=True)) if names else list(params)


def attention(case: Mapping[str, Any]) -> list[int]:
    """The positions of queries and keys of an attention layer that a case describes, and its heads; or nothing."""
    ordinals = ["first", "second", "third", "fourth"]
    text = (
        r"the (\w+) parameter \S+ holds the queries and the (\w+) \S+ the keys of one attention layer with (\d+) heads"
    )
    found = re.search(text, case.get("how", ""))
    return [ordinals.index(found[1]), ordinals.index(found[2]), int(found[3])] if found else []


def hand_over(optimizer: Any, params: Sequence[Tensor], case: Mapping[str, Any], step: int) -> None:
    """Before a step, tell a method what it cannot see: inputs of layers and logits, which a case has in closed form."""
    if attention(case):
        *of, heads = attention(case)
        logits = [100 * (1 + 0.5 * math.sin(0.7 * step + h)) for h in range(heads)]
        for i in of:
            optimizer.observe_logits(params[i], torch.tensor(logits, dtype=torch.float64))
    found = re.search(r"before step n with n mod (\w+) = 0 every matrix with d columns gets", case.get("how", ""))
    if found and step % case["kwargs"][found[1]] == 0:
        for p in (p for p in params if p.ndim > 1):
            d = math.prod(p.shape[1:])
            b, k = torch.arange(1, 2 * d + 1, dtype=torch.float64), torch.arange(1, d + 1, dtype=torch.float64)
            optimizer.observe(p, torch.sin(0.7 * b.unsqueeze(1) * k + 0.3 * step))


def scheduled(optimizer: Any, name: str, case: Mapping[str, Any]) -> Any:
    """The scheduler that a case is about or names, stepped after each step of the optimizer, or None."""
    if optim_core.info(name).kind == "scheduler":
        own = {k: v for k, v in case["kwargs"].items() if k not in ("base", "base_kwargs")}
        return optim_core.get_scheduler(name)(optimizer, **own)
    found = re.search(r"lr follows torch (\w+)\((\w+=\w+(?:, \w+=\w+)*)\)", case.get("how", ""))
    if found is None:
        return None
    arguments = dict(pair.split("=") for pair in found[2].split(", "))
    return getattr(lr_scheduler, found[1])(optimizer, **{name: case["kwargs"][of] for name, of in arguments.items()})


def prepare(optimizer: Any, params: Sequence[Tensor], how: str) -> None:
    """Give states the first values that a case names."""
    found = re.search(r"\(state '(\w+)'\) is replaced by \((\w+)/(\w+)\)\*sin\(([\d.]+)\*k \+ i\)", how)
    if found:
        name, above, below, frequency = found.groups()
        for i, p in enumerate(params):
            size = optimizer.defaults[above] / optimizer.defaults[below]
            optimizer.state[p][name].copy_(size * wave(p.shape, float(frequency), i))
    found = re.search(r"start of (\w+) is replaced by the closed form \1\[k\] = sqrt\(2\)\*cos\(k\*k \+ i\)", how)
    if found:
        groups = {p: group for group in optimizer.param_groups for p in group["params"]}
        for i, p in enumerate(params):
            layout = layout_of(optimizer.states[found[1]], tuple(p.shape), groups[p])
            for key, shape in ({} if layout is None else layout.named(found[1])).items():
                k = torch.arange(math.prod(shape), dtype=torch.float64)
                optimizer.state[p][key] = math.sqrt(2) * torch.cos(k * k + i).reshape(shape)


def innermost(optimizer: Any) -> Any:
    return innermost(optimizer.base) if hasattr(optimizer, "base") else optimizer


# driving -------------------------------------------------------------------------------------------------------
Closure = Callable[[], Any]


def total(loss: Any) -> Tensor:
    """The recorded loss of several tasks is their sum."""
    return torch.stack(list(loss)).sum() if isinstance(loss, (list, tuple)) else loss


def minimized(optimizer: Any, closure: Closure) -> Tensor:
    return total(optimizer.minimize(closure))


def sampled(optimizer: Any, closure: Closure) -> None:
    """What a loop of one's own does for a method that wants gradients on labels drawn from the model."""
    if getattr(optimizer, "needs_sample", False):
        optimizer.sampling = True
        optimizer.zero_grad()
        closure().backward()
        optimizer.update_hessian()
        optimizer.sampling = False


def fused(optimizer: Any, closure: Closure) -> Tensor:
    """backward() and step() in one, after a backward that measures the norm where that is clipped."""
    if optimizer.clips_norm:
        optimizer.grad_norm(closure())
    loss = closure()
    optimizer.fused_backward(loss)
    return loss.detach()


def stepped(optimizer: Any, closure: Closure) -> Tensor:
    """torch's own way: zero_grad, backward, step; or the method's own way to have both in one."""
    if hasattr(optimizer, "fused_backward"):
        return fused(optimizer, closure)
    sampled(optimizer, closure)
    optimizer.zero_grad()
    loss = total(closure())
    closures.backward(loss, create_graph=optimizer.needs_graph)
    optimizer.step()
    return loss.detach()


def stepped_with_closure(optimizer: Any, closure: Closure) -> Tensor:
    """torch's other way: step(closure)."""

    def evaluated() -> Tensor:
        optimizer.zero_grad()
        loss = total(closure())
        closures.backward(loss, create_graph=optimizer.needs_graph)
        return loss

    sampled(optimizer, closure)
    return optimizer.step(evaluated).detach()


DRIVES = {"minimize": minimized, "step": stepped, "closure": stepped_with_closure}
#: Needs that torch's own ways cannot meet; they raise where they can notice.
BEYOND = {"minimize": set(), "step": {"closure", "loss"}, "closure": {"multi_loss"}}
UNNOTICED = {"minimize": set(), "step": {"multi_loss"}, "closure": set()}


def rescaled(case: Mapping[str, Any], step: int) -> float:
    """What the lrs of all groups are multiplied by just before a step, as a scheduler would."""
    text = r"before optimizer\.step\(\) of step (\d+) every param_group\['lr'\] is multiplied by (\d+(?:\.\d+)?)"
    return math.prod(float(factor) for at, factor in re.findall(text, case["how"]) if int(at) == step)


def entered(case: Mapping[str, Any], step: int) -> dict[str, float]:
    """What the groups hold just before a step, beside what the constructor has put there."""
    found = re.search(r"Before step n the group holds (.*?)\.?$", case.get("how", ""))
    pairs = re.findall(r"(\w+) = ([\d.]+)(?:/(n)| \+ ([\d.]+)\*n)", found[1]) if found else ()
    return {name: float(x) / step if by else float(x) + float(slope) * step for name, x, by, slope in pairs}


def follow_schedule(optimizer: Any, case: Mapping[str, Any], step: int, first: Sequence[float]) -> None:
    """Where a case says that lr falls on a straight line, set it for a step; ``first`` are the groups' own."""
    found = re.search(r"(?:lr|learning rate)[^;:]*? (?:set|is) [^;:]*?\*\(1 - \([tn]-1\)/(\d+)\)", case.get("how", ""))
    if found is None:
        return
    for group, lr in zip(optimizer.param_groups, first, strict=True):
        group["lr"] = lr * (1 - (step - 1) / int(found[1]))


def turn(optimizer: Any, case: Mapping[str, Any], mode: str) -> None:
    """Where a case is recorded in eval mode, go to that mode."""
    words = r"optimizer\.eval\(\)|the AVERAGED weights|params are the averages"
    if re.search(words, case.get("how", ""), re.IGNORECASE):
        getattr(optimizer, mode)()


def deviation(got: Tensor, wanted: Sequence[float]) -> float:
    """Largest difference, as a share of the tensor's largest magnitude."""
    expected = torch.tensor(wanted, dtype=torch.float64)
    difference = (got.detach().double().reshape(-1) - expected).abs().max()
    return float(difference / expected.abs().max().clamp(min=1e-30))


def drawn(params: Sequence[Tensor], formula: str) -> Callable[[Tensor], Tensor]:
    """In the place of noise sqrt(2)*cos(1.3*k + 0.7*n + i), n the draws that parameter i has had before.

    Where the formula has no i, n counts the draws of the run, this one included.
    """
    index = {p: i for i, p in enumerate(params)}
    before = dict.fromkeys(index, 0)

    def draw(p: Tensor) -> Tensor:
        before[p] += 1
        n, i = (before[p] - 1, index[p]) if formula.endswith("+ i)") else (sum(before.values()), 0)
        phase = 0.7 * n + i + math.pi / 2
        return (math.sqrt(2) * wave(p.shape, 1.3, phase)).to(p.dtype)

    return draw


def batch(problem: Problem, params: Sequence[Tensor], n: int, optimizer: Any, dtype: torch.dtype) -> Closure:
    """The loss of step n; while labels are drawn, the batch that stands for them after step n - 1."""

    def closure() -> Any:
        drawn = getattr(innermost(optimizer), "sampling", False)
        return problem.loss([p.to(dtype) for p in params], n + 998 if drawn else n - 1)

    return closure


def steps(
    name: str,
    case: Mapping[str, Any],
    drive: str,
    settings: Mapping[str, Any],
    dtype: torch.dtype,
    losses: torch.dtype | None = None,
    nudge: float = 0.0,
) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Run a case: each step's loss, and the parameters after it.

    Its losses are in a type of their own if one is given; the parameters begin a relative ``nudge`` away.
    """
    problem = problem_of(case)
    params = problem.parameters(dtype)
    with torch.no_grad():
        for p in params:
            p.mul_(1 + nudge)
    optimizer = build(name, given(params, case), options(name, case))
    prepare(optimizer, params, case.get("how", ""))
    for setting, value in settings.items():
        setattr(innermost(optimizer), setting, value)
    if "draws" in case:
        innermost(optimizer).draw = drawn(params, case["draws"])
    scheduler = scheduled(optimizer, name, case)
    first = [group["lr"] for group in optimizer.param_groups]
    for n, _ in enumerate(case["losses"], start=1):
        for group in optimizer.param_groups:
            group["lr"] *= rescaled(case, n)
            group.update(entered(case, n))
        follow_schedule(optimizer, case, n, first)
        hand_over(innermost(optimizer), params, case, n)
        loss = DRIVES[drive](optimizer, batch(problem, params, n, optimizer, losses or dtype))
        if scheduler is not None:
            scheduler.step()
        turn(optimizer, case, "eval")
        yield loss, params
        turn(optimizer, case, "train")


def follow(
    name: str,
    case: Mapping[str, Any],
    drive: str,
    settings: Mapping[str, Any],
    dtype: torch.dtype,
    losses: torch.dtype | None = None,
    nudge: float = 0.0,
) -> float:
    """Run a case; the largest deviation of any loss or parameter from what is recorded."""
    worst = 0.0
    for n, (loss, params) in enumerate(steps(name, case, drive, settings, dtype, losses, nudge), start=1):
        worst = max(worst, deviation(loss, [case["losses"][n - 1]]))
        for p, wanted in zip(params, case["params"].get(str(n), ()), strict=False):
            worst = max(worst, deviation(p, wanted))
    return worst


def test_trajectory(name: str, case: Mapping[str, Any], drive: str, settings: Mapping[str, Any]) -> None:
    needs = set(optim_core.info(name).needs)
    params = given(problem_of(case).parameters(), case)
    if not getattr(build(name, params, options(name, case)), "needs_closure", True):
        needs.discard("closure")
    if needs & UNNOTICED[drive]:
        pytest.skip("loss.backward() takes one loss, and step() cannot know of the others")
    if needs & BEYOND[drive]:
        with pytest.raises((ClosureError, LossMissing), match=r"optimizer\.minimize\(closure\)"):
            follow(name, case, drive, settings, torch.float64)
        return
    coarse = "summed in float32" in case["how"]  # the authors' code computes a part of it so
    worst, bound = follow(name, case, drive, settings, torch.float64), 1e-7 if coarse else 1e-10
    if worst >= bound:
        own = magnified(lambda nudge: steps(name, case, "minimize", {}, torch.float64, nudge=nudge))
        bound = min(own, 1e-8)
    assert worst < bound


def between(one: Iterator[tuple[Tensor, list[Tensor]]], other: Iterator[tuple[Tensor, list[Tensor]]]) -> float:
    """The largest deviation of any parameter of one run from the other's."""
    return max(
        deviation(q, p.detach().flatten().tolist())
        for (_, first), (_, second) in zip(one, other, strict=True)
        for p, q in zip(first, second, strict=True)
    )


def magnified(run: Callable[[float], Iterator[tuple[Tensor, list[Tensor]]]]) -> float:
    """How far apart a trajectory itself brings what any two programs round apart: three times what is measured."""
    nudges = (k * torch.finfo(torch.float64).eps for k in (-2, -1, 1, 2))
    return 3 * max(between(run(0.0), run(nudge)) for nudge in nudges)


def test_engines_agree(name: str, case: Mapping[str, Any]) -> None:
    def run(engine: str, nudge: float = 0.0) -> Iterator[tuple[Tensor, list[Tensor]]]:
        return steps(name, case, "minimize", {"engine": engine}, torch.float64, nudge=nudge)

    worst, bound = between(run("eager"), run("native")), 1e-12
    if worst >= bound:
        bound = magnified(lambda nudge: run("eager", nudge))
    assert worst < bound


#: How far from its start a trajectory begins to see what it magnifies: roundings of float32, up and down.
NUDGES = tuple(k * torch.finfo(torch.float32).eps / 2 for k in (-2, -1, 0, 1, 2))


@pytest.mark.parametrize("engine", ["eager", "native", pytest.param("triton", marks=needs_triton)])
def test_trajectory_in_float32(name: str, case: Mapping[str, Any], engine: str) -> None:
    first = problem_of(case).parameters()
    second = case["params"]["2"]
    moved = max(deviation(p, wanted) for p, wanted in zip(first, second, strict=True))
    # Steps that float32 resolves in coarse grains only (Prodigy's first ones) cannot be followed more finely than that.
    bound = max(3e-4, torch.finfo(torch.float32).eps / moved)
    worst = follow(name, case, "minimize", {"engine": engine}, torch.float32)
    if worst >= bound:  # unless the trajectory itself magnifies the rounding of the gradients
        bound = 3 * max(follow(name, case, "minimize", {}, torch.float64, torch.float32, nudge) for nudge in NUDGES)
    assert worst < bound


# schedules -----------------------------------------------------------------------------------------------------
def each(value: Any, groups: int) -> list[Any]:
    """A value for each group."""
    return list(value) if isinstance(value, tuple) else [value] * groups


def test_schedule(name: str, case: Mapping[str, Any]) -> None:
    spec = optim_core.info(name)
    options = dict(case["kwargs"])
    base_lrs = options.pop("base_lrs", (0.1,))
    beta2 = options.pop("beta2", 0.999) if "betas" in spec.needs else 0.999
    groups = [
        trial_group(spec, lr=lr, betas=(0.9, b)) for lr, b in zip(base_lrs, each(beta2, len(base_lrs)), strict=True)
    ]
    optimizer = torch.optim.Adam(groups)
    if "lr_scheduler" in options:
        inner = dict(options["lr_scheduler"])
        options["lr_scheduler"] = getattr(lr_scheduler, inner.pop("name"))(optimizer, **inner)
    scheduler = optim_core.get_scheduler(name)(optimizer, **options)
    largest = max(max(each(lrs, 1)) for lrs in tuples(case["lrs"]))
    for n, lrs in enumerate(tuples(case["lrs"]), start=1):
        got = values(spec, optimizer)
        assert got == pytest.approx(each(lrs, len(got)), rel=1e-10, abs=1e-10 * largest), f"step {n}"
        if "momentums" in case:
            assert optimizer.param_groups[0]["betas"][0] == pytest.approx(case["momentums"][n - 1], rel=1e-10)
        optimizer.step()
        advance(spec, scheduler, case["metrics"][n - 1] if "metrics" in case else None)
