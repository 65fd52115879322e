"""Update: the steps of a method, each with what an earlier one has left assembled, or assembled anew."""

from __future__ import annotations

import functools
import logging
import weakref
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optim_core.engines.bucket import Bucket
from optim_core.engines.choice import Choice, choose
from optim_core.engines.run import run
from optim_core.engines.tensors import compute_dtype, shape_of
from optim_core.errors import EngineUnavailable, InvalidOption
from optim_core.methods.bucketing import EngineRequest, bucketed
from optim_core.methods.graph_cache import GraphCache, graph_fits
from optim_core.methods.method import Method
from optim_core.methods.parameter_step import ParameterStep, RowsStep
from optim_core.methods.reuse import AssembledPart, AssembledSet, AssembledStep, Column, Roster
from optim_core.methods.stack import SpareMemory, Stack
from optim_core.methods.step import (
    Stepping,
    given_numbers,
    late_options,
    parameter_steps,
    present_states,
    rule_options,
)
from optim_core.rules.calls import call_segments
from optim_core.rules.graph import Access, Extent, Graph, reach
from optim_core.rules.options import split
from optim_core.rules.transform import Transform, qualified
from optim_core.rules.values import Level

logger = logging.getLogger("optim_core")


class Traced(NamedTuple):
    """Parameters that share a graph and host numbers.

    Attributes:
        graph: the graph.
        host: the numbers behind its HOST inputs.
        members: the parameters.
    """

    graph: Graph
    host: Mapping[str, float]
    members: Sequence[ParameterStep]


class Update:
    """Runs a method's rule; keeps what has been traced and assembled.

    Args:
        method: the method.
        engine: the engine asked for, or ``"auto"``.
        foreach: for the eager engine, True for lists of tensors, False for tensor by tensor, None to choose.
    """

    def __init__(self, method: Method, engine: str, foreach: bool | None) -> None:
        self.method = method
        self._request = EngineRequest(engine, foreach)
        #: the last one used comes last: a rule may take several branches in turn
        self._assembled: list[AssembledStep] = []
        self._graphs = GraphCache(graph_fits)
        #: by id, with the parameter itself, since another one may have its id later
        self._engines: dict[int, tuple[weakref.ref[Tensor], str]] = {}

    @property
    def engine(self) -> str:
        """The engine asked for."""
        return self._request.engine

    @property
    def foreach(self) -> bool | None:
        """True for lists of tensors, False for tensor by tensor, None to choose: a way of the eager engine."""
        return self._request.foreach

    def engine_of(self, param: Tensor, p: Tensor) -> str:
        """The engine that has updated a parameter, and why; before its first step, as far as can be told."""
        known, engine = self._engines.get(id(param), (None, ""))
        if known is not None and known() is param:
            return engine
        try:
            choice = choose(*self._request, {"p": p}, Access({"p": Extent(Level.ELEMENT)}), compute_dtype(p))
        except EngineUnavailable as error:
            return str(error)
        return f"{_described(choice)} (before the first step)"

    def stacks(self, p: Tensor, group: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> bool:
        """Return whether the rule calls functions of stacks for a parameter of this group, one among others.

        Raises:
            UnsupportedParameter: the parameter is complex, and the rule does what is for real ones.
        """
        if self.method.rule is None:
            return False
        options = late_options(self.method, group, groups)
        return any(graph.trace.calls for graph in self._early_and_late(options, shape_of(p)))

    def reach(
        self, group: Mapping[str, Any], groups: Sequence[Mapping[str, Any]], transforms: tuple[Transform, ...] = ()
    ) -> Level:
        """How far what becomes of an element depends on others, as :func:`optim_core.rules.graph.reach` has it."""
        if self.method.rule is None or self.method.has_extras([group]):  # a method computes extras as it likes
            return Level.WHOLE
        options = late_options(self.method, group, groups)
        options |= {qualified(i, name): 0.5 for i, transform in enumerate(transforms) for name in transform.numbers}
        graphs = self._early_and_late(options, (2, 3), transforms)
        kept = [declared for declared in self.method.parameter_states.values() if declared.present(group)]
        shaped = any(declared.shape or declared.every for declared in kept)
        return max(*map(reach, graphs), Level.TENSOR if shaped else Level.ELEMENT)

    def _early_and_late(
        self, options: Mapping[str, Any], shape: Sequence[int], transforms: tuple[Transform, ...] = ()
    ) -> list[Graph]:
        """The rule in the first step of a parameter, and long after it."""
        early = {"first": 1.0, "step": 1, "whole_step": 1}
        return [self.method.trace({**options, **numbers}, shape, transforms) for numbers in (early, {})]

    def forget(self) -> None:
        """Drop what has been assembled: the rule is composed with something else from now on."""
        self._assembled.clear()

    def step(self, optimizer: Stepping) -> None:
        """Do one step for all parameters that have a gradient.

        Raises:
            OptimCoreError: a gradient, or a combination of options, cannot be worked with; before anything is changed.
        """
        given = given_numbers(optimizer)
        if not self._step_as_before(optimizer, given):
            self._step_anew(optimizer, given)
        if self.method.counts_whole_steps:
            optimizer.set_whole("whole_step", optimizer.whole_step + 1)

    def _step_as_before(self, optimizer: Stepping, given: dict[str, Any]) -> bool:
        """Step with what an earlier step has left assembled; return False if none of it serves."""
        options = functools.partial(rule_options, self.method, given=given, first=False)
        for assembled in reversed(self._assembled):
            numbers = assembled.numbers(options)
            if numbers is None:  # the rule takes another branch than it did there
                continue
            inputs = assembled.inputs()
            reason = assembled.reason_to_reassemble(optimizer.param_groups, optimizer.state, inputs)
            if reason is not None:
                logger.debug("%s: the step is assembled anew: %s", self.method.name, reason)
                self._assembled.clear()
                return False
            self._assembled.remove(assembled)
            self._assembled.append(assembled)
            self._run(optimizer.param_groups, assembled.renew(numbers, inputs))
            assembled.finish()
            return True
        return False

    def _step_anew(self, optimizer: Stepping, given: dict[str, Any]) -> None:
        groups = optimizer.param_groups
        self._let_go(groups)
        pairs = [(p, group) for group in groups for p in group["params"]]
        numbered = {number: pair for number, pair in enumerate(pairs) if pair[0].grad is not None}
        steps = list(parameter_steps(optimizer, numbered, given))
        self._check_alone(groups, steps)
        parts = self._execute([step for step in steps if step.p.numel()], groups)
        for step in steps:
            step.finish()
        for counted in {id(step.counted): step.counted for step in steps}.values():
            counted["step"] += 1
        if parts:
            roster = Roster(groups, [p for p, _ in numbered.values()])
            self._assembled.append(AssembledStep(roster, parts, optimizer.state))
            del self._assembled[:-_LIMIT]

    def _let_go(self, groups: Sequence[Mapping[str, Any]]) -> None:
        """Drop what is about parameters that have left."""
        self._assembled = [assembled for assembled in self._assembled if assembled.is_of(groups)]
        self._engines = {key: known for key, known in self._engines.items() if known[0]() is not None}

    def _run(self, groups: Sequence[Mapping[str, Any]], owned: Sequence[tuple[Mapping[str, Any], Bucket]]) -> None:
        """Run buckets, each given with its group: all together, or those of each group by themselves."""
        names = self.method.whole_states
        if not groups or not self.method.is_alone(groups[0]):
            run([bucket for _, bucket in owned], {name: groups[0][name] for name in names})
            return
        for group in groups:
            run([bucket for owner, bucket in owned if owner is group], {name: group[name] for name in names})

    def _check_alone(self, groups: Sequence[Mapping[str, Any]], steps: Sequence[ParameterStep]) -> None:
        """Refuse to sum over single groups what a transform sums over the model.

        Raises:
            InvalidOption: naming the option.
        """
        if not groups or not self.method.is_alone(groups[0]):
            return
        for step in {step.transforms: step for step in steps if step.transforms}.values():
            with_them, bare = (self.method.trace(step.options, step.shape, t) for t in (step.transforms, ()))
            if len(with_them.trace.totals) > len(bare.trace.totals):
                raise InvalidOption(
                    f"{self.method.name}: with {self.method.by_group}=True each group is a model of its own, but a "
                    "wrapper around it sums over all of them (clipping by the norm of all gradients, say): leave one "
                    "of the two out, or clip before step()"
                )

    # assembling ---------------------------------------------------------------------------------------------
    def _execute(self, steps: Sequence[ParameterStep], groups: Sequence[Mapping[str, Any]]) -> Sequence[AssembledPart]:
        """Do one step; returns what the next one may use again.

        Args:
            steps: the parts of all parameters.
            groups: the optimizer's, in which the states on level WHOLE stand.
        """
        elements = sum(step.p.numel() for step in steps)
        traced = list(self._sorted(steps))
        plain = [t for t in traced if not t.graph.trace.calls]
        assembled = [(t, list(self._buckets(t, elements))) for t in plain]
        spare = SpareMemory()
        for t in traced:
            if t.graph.trace.calls:
                for members in self._stackable(t.members):
                    self._run_stack(t, Stack(members, spare), elements)
        self._run(groups, [(t.members[0].group, bucket) for t, buckets in assembled for bucket, _ in buckets])
        if len(plain) < len(traced) or self.method.has_extras(step.group for step in steps):
            return ()
        if any(isinstance(step, RowsStep) or step.is_block for step in steps):
            return ()
        if not AssembledStep.is_possible(step.param for step in steps):
            return ()
        return [self._part(t, buckets) for t, buckets in assembled]

    def _sorted(self, steps: Iterable[ParameterStep]) -> Iterator[Traced]:
        """Parameters by the graph and the numbers that they share."""
        options = {step.options_key: step.options for step in steps}
        forms = functools.cache(lambda key, shape: self.method.shaped_state_levels(options[key], shape))
        for alike in _grouped(
            steps,
            lambda s: (s.options_key, s.transforms, s.p.dtype, s.p.device, forms(s.options_key, s.shape)),
        ):
            yield from self._traced(alike)

    def _traced(self, alike: Sequence[ParameterStep]) -> Iterator[Traced]:
        """The graphs of parameters with equal options; there may be several, since a rule may ask for the shape."""
        first = alike[0]
        host, decisive = split(first.options)
        extras, rounds = frozenset(first.extras), first.p.dtype is torch.bfloat16
        settings = self.method.composition_settings(first.options, first.transforms, rounds=rounds)
        buffers = self.method.buffers(first.options, first.shape, extras)
        left = list(alike)
        while left:
            shape = left[0].shape
            trace = functools.partial(
                self.method.trace, first.options, shape, first.transforms, extras=extras, rounds=rounds
            )
            graph = self._graphs.get((decisive, settings, tuple(buffers)), host, shape, trace)
            yield Traced(graph, host, [step for step in left if graph.trace.fits(step.shape)])
            left = [step for step in left if not graph.trace.fits(step.shape)]

    def _buckets(
        self, traced: Traced, elements: int, results: Mapping[str, Sequence[Tensor]] = {}
    ) -> Iterator[tuple[Bucket, list[int]]]:
        """Buckets with the positions of their members.

        Args:
            traced: the members.
            elements: the elements of all parameters of the step together.
            results: buffers beside the members' own, one tensor per member.
        """
        columns = {name: results.get(name) or _column(name, traced) for name in traced.graph.access.homes}
        for bucket, at in bucketed(traced.graph, traced.host, columns, self._request, elements):
            engine = _described(bucket)
            members = (traced.members[i].param for i in at)
            self._engines.update((id(param), (weakref.ref(param), engine)) for param in members)
            yield bucket, at

    def _part(self, traced: Traced, buckets: Sequence[tuple[Bucket, list[int]]]) -> AssembledPart:
        members = traced.members
        params = Column(step.param for step in members)
        kept = [name for name in traced.graph.buffers if name not in ("p", "g")]
        columns = {"p": params, "g": Column.of_gradients(params)}
        part = AssembledPart(
            assembled=AssembledSet(members[0].options, columns, buckets),
            group=members[0].group,
            params=params,
            states=[step.states for step in members],
            keys={name: members[0].key(traced.graph.place(name)) for name in kept},
            states_asked_for=functools.partial(present_states, self.method),
        )
        part.assembled.release()
        return part

    # functions of stacks ------------------------------------------------------------------------------------
    def _stackable(self, members: Sequence[ParameterStep]) -> Iterator[Sequence[ParameterStep]]:
        """Members of one shape and layout, as many at a time as may be stacked."""
        for alike in _grouped(members, lambda step: (step.p.shape, step.p.stride())):
            limit = _STACK_BYTES if alike[0].p.device.type == "cpu" else _DEVICE_STACK_BYTES
            size = max(alike[0].nbytes, 4 * alike[0].p.nbytes)  # arguments and results are as large as parameters
            most = 1 if self.foreach is False else max(1, limit // size)
            yield from (alike[start : start + most] for start in range(0, len(alike), most))

    def _run_stack(self, traced: Traced, stack: Stack, elements: int) -> None:
        """Do one step for parameters of one shape: what engines do, with functions of stacks in between."""
        own = traced._replace(members=stack.members)
        for segment in call_segments(traced.graph):
            if segment.before is not None:
                arguments = {name: stack.allocate(name, x) for name, x in segment.before.outputs.items()}
                self._run_on(own._replace(graph=segment.before), stack, elements, arguments)
            stack.call(segment, traced.host)
        self._run_on(own, stack, elements, {})
        for name, value in traced.graph.own.items():
            stack.write(name, value)
        stack.release()

    def _run_on(self, traced: Traced, stack: Stack, elements: int, arguments: Mapping[str, Tensor]) -> None:
        results = {name: list(x) for name, x in {**stack.results(traced.graph), **arguments}.items()}
        run([bucket for bucket, _ in self._buckets(traced, elements, results)], {})


def _column(name: str, traced: Traced) -> list[Tensor]:
    """The tensors of the members behind a name of the graph."""
    place = traced.graph.place(name)
    return [step.tensor(place) for step in traced.members]


def _described(choice: Bucket | Choice) -> str:
    calls = isinstance(choice, Bucket) and choice.graph.trace.calls
    return f"{choice.engine}: {choice.reason}{', around torch operations on stacks' if calls else ''}"


#: How many branches of a rule, taken in turn, are kept assembled.
_LIMIT = 12
#: Bytes of parameters of one shape, with their states, that are stacked for one call: on a CPU more only leave its
#: caches; a GPU wants large calls.
_STACK_BYTES, _DEVICE_STACK_BYTES = 1 << 25, 1 << 28


def _grouped(steps: Iterable[ParameterStep], key: Callable[[ParameterStep], Hashable]) -> Iterable[list[ParameterStep]]:
    groups: dict[Hashable, list[ParameterStep]] = defaultdict(list)
    for step in steps:
        groups[key(step)].append(step)
    return groups.values()
