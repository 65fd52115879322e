"""A rule is a function of what it is called with: the same each time, for every element, and each part of it counts."""

from __future__ import annotations

import contextlib
import functools
import itertools
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from optim_core.errors import EngineUnavailable
from optim_core.methods.declarations import Hyper
from optim_core.methods.states import state_of_key, tensors_of
from optim_core.optimizers.needs import has_modes
from optim_core.optimizers.optimizer import RuleOptimizer
from optim_core.rules.graph import order
from optim_core.rules.values import Level
from optim_core.testing.check import check, fail, require
from optim_core.testing.checks.construction import is_declared, is_optimizer
from optim_core.testing.checks.gradients import takes_gradients
from optim_core.testing.checks.graphs import graph_of, inputs_of, outputs, shares_nothing
from optim_core.testing.small import SHAPES, close, copies, equal, positive, set_gradients, tensors
from optim_core.testing.subject import Subject

#: Options that say how torch's own optimizers compute, not what; other libraries have taken them over.
_IMPLEMENTATION = frozenset({"foreach", "fused", "capturable", "differentiable", "maximize"})
#: Shapes on which options and states are looked for to have an effect.
_SHAPES = ((6, 4), (5,), (4, 2, 3, 3))
_STEPS = 12


def is_rule(subject: Any) -> bool:
    """One that is written as an update rule."""
    return is_optimizer(subject) and subject.is_rule


# the same each time --------------------------------------------------------------------------------------------
@check(is_rule)
def check_rule_is_traced_the_same_twice(subject: Subject) -> None:
    """A rule that is called twice with the same symbols leaves the same graph: it draws nothing and reads no globals.

    Remedy: draw in ``extras`` with ``self.generator(device)``; make an option of what the rule reads elsewhere.
    """
    for shape in ((3, 4), (5,)):
        first, second = (str(graph_of(subject, shape)).splitlines() for _ in range(2))
        different = [f"{a.strip()!r}, then {b.strip()!r}" for a, b in zip(first, second, strict=False) if a != b]
        require(first == second, f"the rule does not leave the same graph twice: {(different or ['one is longer'])[0]}")


@check(is_optimizer)
def check_same_seed_same_steps(subject: Subject) -> None:
    """Two runs after the same torch.manual_seed are the same to the last bit.

    Remedy: draw from torch's generators (``self.generator(device)``), not from ``random`` or numpy or the clock.
    """
    ends = []
    for _ in range(2):
        torch.manual_seed(0)
        params = subject.params()
        subject.train(subject.build(params), params, coupling=0.05)
        ends.append(params)
    require(equal(*ends), "two runs after torch.manual_seed(0) differ: something random is hidden in it")


@check(is_declared)
def check_draws_are_its_own(subject: Subject) -> None:
    """Neither its constructor nor its steps draw from torch's global stream, which the user's program draws from.

    Remedy: ``generator=self.generator(device)`` in each call that draws.
    """
    torch.manual_seed(0)
    before = torch.get_rng_state()
    params = subject.params()
    subject.train(subject.build(params), params)
    require(torch.equal(before, torch.get_rng_state()), "it draws from torch's global stream of random numbers")


# each part counts ----------------------------------------------------------------------------------------------
def _candidates(h: Hyper | None, default: Any) -> Iterator[Any]:
    """Other values of an option than its default."""
    yield from () if h is None else h.examples
    if isinstance(default, bool):
        yield not default
    elif h is not None and h.choices:
        yield from (choice for choice in h.choices if choice != default)
    elif isinstance(default, tuple):
        for i, x in enumerate(default):
            yield from ((*default[:i], y, *default[i + 1 :]) for y in _candidates(None, x))
    elif isinstance(default, int):
        yield from (x for x in (2, 3, 1, 2 * default, 10 * default + 1) if x != default)
    elif isinstance(default, float):
        values = (0.9 * default or 0.1, 0.5 * default or 0.9, 1.5 * default, 1e-3, 1.0, 1e6)
        yield from (x for x in values if x != default)
    elif h is not None:
        yield from (h.search or ())[:1]
        for kind in typing.get_args(h.type) or (h.type,):
            yield from _of_type(kind)


def _of_type(kind: Any) -> tuple[Any, ...]:
    if typing.get_origin(kind) is tuple:
        number = [k for k in typing.get_args(kind) if k is not Ellipsis]
        return tuple(tuple([x] * len(number)) for x in _of_type(number[0]))
    values: dict[Any, tuple[Any, ...]] = {bool: (True, False), int: (2, 1, -1), float: (0.5, 0.1, 2.0)}
    return values.get(kind, ())


def _trajectory(subject: Subject, shapes: Any, options: Mapping[str, Any]) -> list[Tensor] | None:
    """Parameters and state after a few steps; None if the options are refused."""
    torch.manual_seed(0)
    params = subject.params(*shapes)
    given: list[Any] = params
    if getattr(subject.target, "by_group", "") and params[1:]:  # what makes each group a model of its own needs several
        given = [{"params": params[:1]}, {"params": params[1:]}]
    try:
        optimizer = subject.build(given, **options)
    except (ValueError, TypeError):
        return None
    except (Exception, SystemExit):  # Triton or a GPU that is missing, which plain classes say in many ways
        if subject.is_declared:
            raise
        return None
    found = []
    try:
        for t in range(0, _STEPS, 4):
            subject.train(optimizer, params, range(t, t + 4), noise=0.1)
            found += copies(params)
            if not subject.is_declared or subject.kind == "wrapper":
                _halve_lr(optimizer)
    except (Exception, SystemExit):
        if subject.is_declared:
            raise
        return None  # a plain class does not say which values its options may have
    found += copies(tensors(optimizer.state_dict()))
    if subject.is_declared and hasattr(optimizer, "eval"):  # an option may be about what is evaluated
        optimizer.eval()
    return found + copies(params)


def _halve_lr(optimizer: Any) -> None:
    """As a schedule does: timm's corrected_weight_decay, for one, is about an lr that is not its first."""
    for group in optimizer.param_groups:
        if isinstance(group.get("lr"), float):
            group["lr"] *= 0.5


def _differ(a: list[Tensor] | None, b: list[Tensor] | None) -> bool:
    if a is None or b is None:
        return False
    return [x.shape for x in a] != [x.shape for x in b] or not equal(a, b)


@check(is_optimizer)
def check_every_option_has_an_effect(subject: Subject) -> None:
    """Each option, changed alone or beside one other, changes some step; an option that does nothing misleads.

    Remedy: use the option named, or remove it.
    """
    abouts = subject.around_each_base()
    common = {**RuleOptimizer.hypers} if subject.is_declared else dict.fromkeys(_IMPLEMENTATION)
    options = {
        name: [*_candidates(subject.hypers.get(name), default)]
        for name, default in {**dict.fromkeys(subject.hypers), **subject.defaults}.items()
        if name not in common
    }
    run = functools.cache(lambda about, shapes, items: _trajectory(about, shapes, dict(items)))
    trace = functools.cache(lambda items: _graph_text(subject, dict(items)))
    for name, values in options.items():
        if not _rule_depends_on(subject, name, options, trace):
            effect = _effect_of_option(abouts, name, options, run)
            said = f"the option {name} has no effect on any step, with values such as {values[:3]}"
            require(effect is not False or _is_settled(subject, name, options), said)


def _effect_of_option(
    abouts: list[Subject], name: str, options: Mapping[str, list[Any]], run: Callable[..., Any]
) -> bool | None:
    """Whether an option changes steps in some circumstances; None if no value but the default is ever accepted."""
    values, accepted = options[name], False
    for shapes, beside, few in _circumstances({n: v for n, v in options.items() if n != name and v}):
        if len(beside) > 1 and not accepted:
            break
        around, tried = (abouts[-1:], values[:1] + values[-1:]) if few else (abouts, values)
        for about, value in itertools.product(around, tried):
            usual, changed = (run(about, shapes, items) for items in (beside, (*beside, (name, value))))
            accepted |= changed is not None
            if _differ(usual, changed):
                return True
    return False if accepted else None


def _rule_depends_on(subject: Subject, name: str, options: Mapping[str, list[Any]], trace: Callable[..., str]) -> bool:
    """Whether a rule computes with an option, or computes something else with another value of it."""
    if not subject.is_rule:
        return False
    others = [((other, x),) for other, values in options.items() if other != name for x in values[:1] + values[-1:]]
    for beside in [(), *others]:
        if _rule_computes_with(subject, name, dict(beside)):
            return True
        for value in options[name]:
            usual, changed = trace(beside), trace((*beside, (name, value)))
            if usual and changed and usual != changed:
                return True
    return False


def _graph_text(subject: Subject, options: Mapping[str, Any]) -> str:
    try:
        return str(graph_of(subject, **options))
    except (ValueError, TypeError):  # these options do not go together
        return ""


def _circumstances(others: Mapping[str, list[Any]]) -> Iterator[tuple[Any, Any, bool]]:
    """Shapes, other options beside the one in question, and whether few of its values will do; the likeliest first."""
    alone = [((name, value),) for name, values in others.items() for value in values]
    ends = [((name, value),) for name, values in others.items() for value in values[:1] + values[-1:]]
    pairs = [(*a, *b) for a, b in itertools.combinations(ends, 2) if a[0][0] != b[0][0]]
    small, large = _SHAPES[:2], _SHAPES
    matrices = tuple(sides for shape in _SHAPES if len(shape) == 2 for sides in (shape, shape[::-1]))
    tiers: list[tuple[Any, list[Any], bool]] = [
        (small, [()], False),
        (large, [()], False),
        (small, ends, True),
        (large, ends, True),
        (matrices, ends, True),
        (small, alone, False),
        (matrices, alone, False),
        (small, pairs, True),
    ]
    yield from ((shapes, beside, few) for shapes, options, few in tiers for beside in options)


def _is_settled(subject: Subject, name: str, options: Mapping[str, list[Any]]) -> bool:
    """Whether another option settles it, as an lr settles that Adafactor's step is not relative."""
    found = set()
    for beside in [{}, *({other: value} for other, values in options.items() for value in values if other != name)]:
        with contextlib.suppress(ValueError, TypeError):
            optimizer = subject.build(subject.params(*_SHAPES[:2]), **beside)
            found.add(repr(optimizer.param_groups[0].get(name)))
    return len(found) > 1


def _rule_computes_with(subject: Subject, name: str, options: Mapping[str, Any] = MappingProxyType({})) -> bool:
    """Whether a rule, with its options in force, computes something with an option or a state, or asks for it.

    What it computes may matter in rare steps only: after a gradient that is not a number, or at the end of a phase.
    """
    try:
        graph = graph_of(subject, **options) if subject.is_rule else None
    except (ValueError, TypeError):
        return False
    if graph is None:
        return False
    computed = [value for buffer, value in outputs(graph).items() if graph.place(buffer).name != name]
    read = set().union(*(inputs_of(graph, value) for value in [*computed, *(g.value for g in graph.trace.guards)]))
    default = subject.defaults.get(name)
    wanted = {f"{name}[{i}]" for i in range(len(default))} if isinstance(default, tuple) else {name}
    return wanted <= read


@check(is_rule)
def check_every_state_has_an_effect(subject: Subject) -> None:
    """Each state that the rule takes has an influence on later steps, or on what eval() shows.

    Remedy: use the state named in the rule, or remove its declaration.
    """
    options = {name: _contexts(h) for name, h in subject.hypers.items() if name not in RuleOptimizer.hypers}
    single = [{}, *({name: value} for name, values in options.items() for value in values)]
    pairs = [{**a, **b} for a, b in itertools.combinations(single[1:], 2) if a.keys() != b.keys()]
    for name in (name for name in subject.target.method.positions if name in subject.target.states):
        if any(_rule_computes_with(subject, name, beside) for beside in single):
            continue
        outcomes = set()
        for beside in [*single, *pairs]:
            outcomes.add(_effect_of_state(subject, name, beside))
            if True in outcomes:
                break
        require(outcomes not in ({False}, {False, None}), f"the state {name} has no influence on any later step")


def _contexts(h: Hyper) -> list[Any]:
    values = [*_candidates(h, h.default)]
    return values[:1] + values[-1:]


def _effect_of_state(subject: Subject, name: str, options: Mapping[str, Any]) -> bool | None:
    """Whether a change of the state changes what comes after; None if no parameter has it."""
    ends = []
    for disturbed in (False, True):
        torch.manual_seed(0)
        params = subject.params(*_SHAPES)
        try:
            optimizer = subject.build(params, **options)
        except (ValueError, TypeError):
            return None
        subject.train(optimizer, params, range(4))
        whole = getattr(optimizer, "whole", {})
        mine = [x for p in params for x in tensors_of(optimizer.state[p], name)] + tensors(whole.get(name))
        if not mine:
            return None
        if disturbed:
            with torch.no_grad():
                for x in mine:
                    x.mul_(1.3).add_(0.1)
        subject.train(optimizer, params, range(4, _STEPS))
        if has_modes(optimizer):  # some states are there for the point that is evaluated
            optimizer.eval()
        rest = [x for p in params for n, x in optimizer.state[p].items() if state_of_key(n, (name,)) != name]
        ends.append(copies(params) + copies(tensors(rest)))
        if has_modes(optimizer):
            optimizer.eval()
            ends[-1] += copies(params)
    return _differ(*ends)


@check(is_rule)
def check_states_come_back_in_their_order(subject: Subject) -> None:
    """A rule returns the new states in the order in which it takes them.

    Remedy: ``return new_p, first, second`` for ``rule(p, g, first, second)``.
    """
    graph = graph_of(subject)
    sources = {name: inputs_of(graph, value) for name, value in outputs(graph).items() if name != "p"}
    copied = {name for name, value in outputs(graph).items() if value.op in ("input", "copy")}
    for a, b in ((a, b) for a in sources for b in sources if a < b and not {a, b} & copied):
        exchanged = b in sources[a] and a in sources[b] and a not in sources[a] and b not in sources[b]
        require(
            not exchanged, f"{a} and {b} are swapped: each is computed from the other's old value and not from its own"
        )


# weight decay, maximize ----------------------------------------------------------------------------------------
def has_decay(subject: Any) -> bool:
    """An optimizer with an option for weight decay that steps from gradients."""
    return (
        takes_gradients(subject) and subject.kind == "optimizer" and {"weight_decay", "lr"} <= subject.defaults.keys()
    )


_LR, _DECAY = 0.01, 0.1


def _decayed(subject: Subject, l2: int = 0, decoupled: int = 0, fixed: int = 0, own: float = 0.0) -> list[Tensor]:
    """Where steps lead with the method's own weight decay, or with decay by hand, so many times."""
    torch.manual_seed(0)
    params = subject.params((3, 4), (4, 3), dtype=torch.float64)
    optimizer = subject.build(params, lr=_LR, weight_decay=own)
    for t in range(4):
        set_gradients(params, t)
        with torch.no_grad():
            for p in params:
                p.mul_((1 - _LR * _DECAY) ** decoupled * (1 - _DECAY) ** fixed)
                p.grad = p.grad + l2 * _DECAY * p  # type: ignore[operator]
        optimizer.step()
    return copies(params)


@check(has_decay)
def check_decay_acts_once(subject: Subject) -> None:
    """weight_decay acts once: in the gradient (L2) or on the parameter (decoupled), as it is declared.

    Remedy: leave ``weight_decay`` out of the rule where it is declared by ``l2`` or ``decoupled``; in a plain class
    either add it to the gradient or shrink the parameter.
    """
    own = _decayed(subject, own=_DECAY)
    once = {
        "l2": _decayed(subject, l2=1),
        "decoupled": _decayed(subject, decoupled=1),
        "decoupled without lr": _decayed(subject, fixed=1),
    }
    twice = {
        "in the gradient and on the parameter": _decayed(subject, l2=1, decoupled=1),
        "twice in the gradient": _decayed(subject, l2=2),
        "twice on the parameter": _decayed(subject, decoupled=2),
    }
    found = [way for way, wanted in once.items() if close(own, wanted)]
    for way, wanted in twice.items():
        require(bool(found) or not close(own, wanted), f"weight_decay acts {way}")
    declared = subject.hypers["weight_decay"].decay if subject.is_declared else None
    starts_from_p = subject.is_declared and any(s.start == "p" for s in subject.target.states.values())
    if declared is None or starts_from_p or "decoupled_weight_decay" in subject.hypers or found == [*once]:
        return
    require(declared in found, f"weight_decay is declared as {declared}, and acts as {' or '.join(found) or 'neither'}")


@check(lambda subject: takes_gradients(subject) and subject.kind == "optimizer" and "maximize" in subject.defaults)
def check_maximize_mirrors_minimize(subject: Subject) -> None:
    """maximize=True with gradients -g leads where maximize=False leads with g; weight decay shrinks in both.

    Remedy: turn the gradient's sign first of all, and nothing else.
    """
    decay = {"weight_decay": 0.1} if "weight_decay" in subject.defaults else {}
    ends = []
    for maximize in (False, True):
        torch.manual_seed(0)
        params = subject.params((3, 4), (4, 3))
        optimizer = subject.build(params, maximize=maximize, **decay)
        for t in range(4):
            set_gradients(params, t, -1.0 if maximize else 1.0)
            optimizer.step()
        ends.append(params)
    require(close(ends[0], ends[1]), "maximize=True with gradients -g leads elsewhere than maximize=False with g")


# every element, every engine -----------------------------------------------------------------------------------
def is_elementwise(subject: Any) -> bool:
    """A rule that does the same to each element, wherever it stands and whatever the others are."""
    if not is_rule(subject) or subject.needs or subject.obstacle or subject.target.method.extras:
        return False
    if any(declared.shape for declared in subject.target.states.values()):  # parameters of other shapes go another way
        return False
    graph = graph_of(subject)
    values = order([*graph.outputs.values(), *graph.whole.values()])
    levels = {value.level for value in values}
    inside = levels <= {Level.ELEMENT, Level.HOST} and all(v.every == 1 and v.op != "uniform" for v in values)
    return inside and not graph.trace.calls and not graph.trace.shape_facts and shares_nothing(subject)


@check(is_elementwise)
def check_elements_do_not_know_their_place(subject: Subject) -> None:
    """A rule for single elements does the same in any order, shape and portion of them.

    Remedy: look for what depends on the shape in ``on_group``, ``groups_of`` or a state's ``start``.
    """
    order_of = torch.randperm(12)
    first = positive((12,)).detach()

    def run(*parts: Tensor) -> Tensor:
        torch.manual_seed(0)
        params = [torch.nn.Parameter(part.clone()) for part in parts]
        subject.train(subject.build(params), params)
        return torch.cat([p.detach().flatten() for p in params])

    wanted = run(first)
    for what, got in {
        "permuted": run(first[order_of])[order_of.argsort()],
        "in a matrix": run(first.reshape(3, 4)),
        "in two parameters": run(first[:5], first[5:]),
    }.items():
        require(close([got], [wanted]), f"elements {what} go another way")


@check(is_elementwise)
def check_complex_numbers_are_pairs(subject: Subject) -> None:
    """A rule for single elements takes complex parameters, as pairs of real ones.

    Remedy: look for what asks for a parameter's shape or type in ``on_group`` or ``step``; the core hands on pairs.
    """
    real = positive((4, 3, 2))
    pairs = torch.nn.Parameter(torch.view_as_complex(real.detach().clone()))
    for p in (real, pairs):
        torch.manual_seed(0)
        optimizer = subject.build([p])
        for t in range(4):
            set_gradients([real], t)
            pairs.grad = torch.view_as_complex(real.grad)  # type: ignore[arg-type]
            optimizer.step()
    same = close([torch.view_as_real(pairs.detach())], [real])
    require(same, "complex parameters go another way than pairs of real ones")


@check(is_rule)
def check_engines_agree(subject: Subject) -> None:
    """Every engine takes the same steps, up to rounding: lists of tensors, tensor by tensor, compiled.

    Remedy: usually a rule that decides by a number that is nearly zero; if not, report it to optim-core.
    """
    ways: list[dict[str, Any]] = [{"foreach": False}, {"foreach": True}, {"engine": "native"}]
    ends: list[list[Tensor]] = []
    # roots of matrices that are nearly singular magnify what differs in rounding
    matrices = bool(graph_of(subject).trace.calls)
    same, steps = (partial(close, tolerance=1e-6), 3) if matrices else (close, _STEPS)
    for way in ways:
        torch.manual_seed(0)
        params = subject.params(*SHAPES.values())
        optimizer = subject.build(params, **way)
        try:
            subject.train(optimizer, params, steps)
        except EngineUnavailable:
            continue
        require(not ends or same(params, ends[0]), f"{way} leads elsewhere than {ways[0]}")
        ends.append([*params])
    if not ends:
        fail("no engine runs it")
