"""What an optimizer keeps: what its spec says, nothing else, and all of it goes into checkpoints and copies."""

from __future__ import annotations

import copy
import math
import pickle
import tempfile
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from optim_core.catalog.sizes import element_count
from optim_core.catalog.specs import OptimizerSpec
from optim_core.methods.states import state_of_key, tensors_of
from optim_core.testing.check import NotApplicable, check, require
from optim_core.testing.checks.construction import is_optimizer
from optim_core.testing.checks.gradients import takes_gradients
from optim_core.testing.small import SHAPES, STEPS, copies, equal, finite, positive, reloaded, tensors
from optim_core.testing.subject import Subject

#: Elements interact, so that what was drawn makes a difference.
_COUPLING = 0.05


@check(is_optimizer)
def check_state_loads_with_weights_only(subject: Subject) -> None:
    """A saved state_dict is loaded by torch.load(weights_only=True), torch's default: tensors and plain values only.

    Remedy: keep lists, dicts, numbers and tensors in the state, no deques, functions or objects of your own classes.
    """
    params = subject.params()
    optimizer = subject.build(params)
    subject.train(optimizer, params, 3)
    try:
        reloaded(optimizer.state_dict())
    except pickle.UnpicklingError as error:
        raise RuntimeError(str(error).partition("\n")[0]) from error


@check(is_optimizer)
def check_resumes_bit_for_bit(subject: Subject) -> None:
    """A new optimizer that loads a checkpoint goes on exactly as the saved one does.

    Remedy: everything that steps depend on goes into ``self.state`` or the groups: step counts, buffers of the whole
    model, the state of random generators.
    """
    params = subject.params()
    optimizer = subject.build(params)
    subject.train(optimizer, params, 3, coupling=_COUPLING)
    saved = copy.deepcopy(optimizer.state_dict())
    others = [Parameter(p.detach().clone()) for p in params]
    resumed = subject.build(others)
    with torch.no_grad():  # a constructor may change parameters; a model's checkpoint is loaded after it
        for p, q in zip(params, others, strict=True):
            q.copy_(p)
    resumed.load_state_dict(saved)
    for step in range(STEPS):
        state = torch.get_rng_state()
        subject.train(optimizer, params, 1, coupling=_COUPLING)
        torch.set_rng_state(state)
        if subject.is_declared:  # its draws come from what was saved, not from torch's global stream
            torch.manual_seed(step)
        subject.train(resumed, others, 1, coupling=_COUPLING)
        require(equal(params, others), f"after loading its checkpoint, step {step + 1} leads elsewhere")


@check(is_optimizer)
def check_deepcopies_continue(subject: Subject) -> None:
    """A deepcopy of parameters and optimizer goes on exactly as they do, and holds the copied parameters.

    Remedy: hold parameters in ``param_groups`` only, and no functions that have captured them.
    """
    _check_copy(subject, copy.deepcopy)


@check(is_optimizer)
def check_pickles_continue(subject: Subject) -> None:
    """Parameters and optimizer go through pickle, as to another process, and go on exactly as before.

    Remedy: keep no lambdas, local functions or open files in the optimizer; see ``__getstate__``.
    """
    _check_copy(subject, lambda x: pickle.loads(pickle.dumps(x)))  # noqa: S301 - our own bytes


def _check_copy(subject: Subject, copied: Any) -> None:
    params = subject.params()
    optimizer = subject.build(params)
    subject.train(optimizer, params, 3, coupling=_COUPLING)
    others, twin = copied((params, optimizer))
    held = [p for group in twin.param_groups for p in group["params"]]
    require(all(any(p is q for q in held) for p in others), "the copy does not hold the copied parameters")
    for step in range(STEPS):
        state = torch.get_rng_state()
        subject.train(optimizer, params, 1, coupling=_COUPLING)
        torch.set_rng_state(state)
        subject.train(twin, others, 1, coupling=_COUPLING)
        require(equal(params, others), f"step {step + 1} of the copy leads elsewhere")


@check(is_optimizer)
def check_groups_may_be_added(subject: Subject) -> None:
    """A group that is added in mid-run takes part, and the others go on.

    Remedy: look at ``self.param_groups`` in step(), not at lists made in the constructor.
    """
    if not subject.takes_groups:
        raise NotApplicable("it takes one group only")
    params = subject.params((3, 4), (4, 3))
    optimizer = subject.build(params[:1])
    subject.train(optimizer, params[:1], 2)
    optimizer.add_param_group(subject.group(params[1:], 1))
    before = copies(params)
    subject.train(optimizer, params)
    require(finite(params), "after a group was added, parameters are infinite or not a number")
    for which, old, new in zip(("an earlier", "the added"), before, params, strict=True):
        require(not torch.equal(old, new), f"after a group was added, {which} group stands still")


@check(lambda subject: is_optimizer(subject) and (subject.is_declared or takes_gradients(subject)))
def check_distributed_checkpoints(subject: Subject) -> None:
    """torch.distributed.checkpoint saves and loads its state, by the names of a model's parameters.

    Remedy: state of parameters goes under ``self.state[p]``, numbers of groups into the groups; a first step() with
    lr = 0 and zero gradients works without a closure, and creates all states.
    """
    from torch.distributed.checkpoint import state_dict as by_names

    models, optimizers = [], []
    for _ in range(2):
        torch.manual_seed(1)
        model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).to(subject.dtype)
        try:
            optimizer = subject.build([*model.parameters()])
        except (ValueError, TypeError):
            raise NotApplicable("it does not take a layer's weights and biases") from None
        models.append(model)
        optimizers.append(optimizer)
    subject.train(optimizers[0], [*models[0].parameters()], 3)
    saved = by_names.get_optimizer_state_dict(models[0], optimizers[0])
    with tempfile.TemporaryDirectory() as folder:
        saved = _through_files(saved, folder)
    models[1].load_state_dict(models[0].state_dict())
    by_names.set_optimizer_state_dict(models[1], optimizers[1], saved)
    models[1].load_state_dict(models[0].state_dict())
    for model, optimizer in zip(models, optimizers, strict=True):
        torch.manual_seed(2)
        subject.train(optimizer, [*model.parameters()], 3)
    same = equal(*([*model.parameters()] for model in models))
    require(same, "after a round trip through torch.distributed.checkpoint, steps lead elsewhere")


def _through_files(saved: Any, folder: str) -> Any:
    from torch.distributed import checkpoint

    files: Any = checkpoint

    files.save({"optimizer": saved}, checkpoint_id=folder, no_dist=True)
    target = {"optimizer": copy.deepcopy(saved)}
    for t in tensors(target):
        t.zero_()
    files.load(target, checkpoint_id=folder, no_dist=True)
    return target["optimizer"]


# what the spec says --------------------------------------------------------------------------------------------
def tells_state(subject: Any) -> bool:
    """A rule whose spec says what it keeps."""
    return is_optimizer(subject) and subject.is_rule and isinstance(subject.spec, OptimizerSpec)


def held(optimizer: Any, p: Tensor, names: Any) -> dict[str, list[Tensor]]:
    """The tensors of each state that a parameter shares or has, by the names in the spec."""
    whole = optimizer.whole if optimizer.method.whole_states else {}
    own = optimizer.state[p]
    return {name: tensors(whole[name] if name in whole else tensors_of(own, name)) for name in names}


@check(tells_state)
def check_state_is_what_the_spec_says(subject: Subject) -> None:
    """The spec's ``state`` names each state that is kept and its size, for every shape; state_bytes() agrees.

    Remedy: correct ``state={...}`` in the manifest; ``"module:function"`` stands for a size of your own.
    """
    spec: Any = subject.spec
    shapes = [shape for shape in SHAPES.values() if math.prod(shape)]  # what is empty takes no part
    params = [positive(shape, i) for i, shape in enumerate(shapes)]
    optimizer = subject.build(params)
    announced = optimizer.state_bytes()
    subject.train(optimizer, params, 1)
    local = {name: size for name, size in spec.state.items() if size != "whole"}
    for p in params:
        keys = {key for key in optimizer.state[p] if key != "step"}
        names = {state_of_key(key, local) for key in keys}
        kept = {name: sum(map(Tensor.numel, tensors_of(optimizer.state[p], name))) for name in names}
        wanted = {name: element_count(size, tuple(p.shape)) for name, size in local.items()}
        for name in {**kept, **wanted}:
            said, found = wanted.get(name, 0), kept.get(name, 0)
            text = (
                f"for a parameter of shape {tuple(p.shape)} it keeps {found} numbers of {name!r}, the spec says {said}"
            )
            require(said == found, text)
        for name, size in local.items():
            types = {str(t.dtype).removeprefix("torch.") for t in tensors_of(optimizer.state[p], name)}
            stored = size.partition(" as ")[2]
            require(not stored or types <= {stored}, f"it keeps {name!r} in {types}, the spec says {stored}")
    whole = set(optimizer.method.whole_states)
    says = spec.state.keys() - local.keys()
    require(whole == says, f"it keeps {sorted(whole)} for the whole model, the spec says {sorted(says)}")
    numbers = sum(
        t.numel() * t.element_size() for p in params for n in local for t in tensors_of(optimizer.state[p], n)
    )
    require(announced == numbers, f"state_bytes() announces {announced} bytes, and it keeps {numbers}")
