"""StatefulOptimizer: torch's Optimizer with states that follow from a method's declarations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from optim_core.engines.sharded import placed_like
from optim_core.engines.tensors import compute_dtype, real
from optim_core.methods import states
from optim_core.methods.method import Method
from optim_core.optimizers import checkpoint, draws, ranks
from optim_core.optimizers.checkpoint import LoadResult, Options
from optim_core.optimizers.hosts import Hosted
from optim_core.optimizers.matching import Rename
from optim_core.optimizers.saved_states import check_states


class StatefulOptimizer(Hosted, Optimizer):
    """An optimizer that creates, measures, saves and restores the states that its method declares."""

    method: ClassVar[Method]
    _seeding: draws.Seeding
    #: True if steps draw random numbers.
    random: ClassVar[bool] = False
    #: Which processes train together, so that they share draws and the mean of their losses: a process group of
    #: ``torch.distributed``, or None for this process by itself. By default those over whose mesh the parameters are
    #: sharded, or else all.
    process_group: Any

    # states of the model as a whole -------------------------------------------------------------------------
    @property
    def whole(self) -> Mapping[str, Any]:
        """States of the model as a whole, by name. They stand in every group, the same in each.

        Where each group is a model of its own, those of the first.
        """
        group = self.param_groups[0]
        return {name: group[name] for name in self.method.whole_states if name in group}

    def set_whole(self, name: str, value: Any) -> None:
        """Set an entry of the state of the model as a whole."""
        for group in self.param_groups:
            group[name] = value

    @property
    def whole_step(self) -> int:
        """How many steps a method that counts them has done for the model as a whole."""
        return int(self.param_groups[0].get("whole_step", 0))

    def _join_whole(self, group: dict[str, Any]) -> None:
        """Give a new group the states of the model as a whole, which begin with the first one."""
        first, whole = self.param_groups[0], self.method.whole_states
        if group is first:
            for name in checkpoint.DRAWS:
                group.pop(name, None)  # another optimizer's, whose groups these were
            group |= {"draw_seed": None, "draws": 0} if self.random or group["rounding"] == "stochastic" else {}
            group |= {name: states.begin_whole(declared, group, self._device()) for name, declared in whole.items()}
            group |= {"whole_step": 0} if self.method.counts_whole_steps else {}
        else:
            group |= {name: first[name] for name in (*whole, "whole_step", *checkpoint.DRAWS) if name in first}
            if self.method.is_alone(group):
                group |= {name: states.begin_whole(declared, group, self._device()) for name, declared in whole.items()}

    def _device(self) -> torch.device:
        """That of the first parameter."""
        return next((p.device for group in self.param_groups for p in group["params"]), torch.device("cpu"))

    # draws --------------------------------------------------------------------------------------------------
    def generator(self, device: torch.device) -> torch.Generator:
        """A source of random draws on a kind of device, another one at each call.

        It follows from a seed and a count, which are in the groups and so in the state dict. The seed is the
        optimizer's own: neither torch's global stream nor another optimizer's is correlated with it, and it is the same
        on all ranks, which therefore all begin to draw in the same step, and draw equally often.
        """
        group = self.param_groups[0]
        if group.get("draw_seed") is None:
            self.set_whole("draw_seed", ranks.agreed(self._seeding.fresh_seed(self, self.method.name), self))
            self.set_whole("draws", 0)
        seed = draws.hashed_seed(group["draw_seed"], group["draws"])
        self.set_whole("draws", group["draws"] + 1)
        return torch.Generator(device).manual_seed(seed)

    def draw(self, p: Tensor) -> Tensor:
        """Normal noise of mean 0 and variance 1 for a parameter, in real numbers; the same on all ranks."""
        like, generator = real(p.detach()), self.generator(p.device)
        z = torch.randn(like.shape, dtype=compute_dtype(like), device=generator.device, generator=generator)
        return placed_like(z.to(p.device), like)

    # states of parameters -----------------------------------------------------------------------------------
    def begin(self) -> None:
        """Create all states of the parameters that have a gradient, without a step."""
        pairs = [(p, group) for group in self.param_groups for p in group["params"]]
        for number, (p, group) in enumerate(pairs):
            if p.grad is not None and p.numel():
                self.start_state(p, group, number)

    def start_state(self, p: Tensor, group: Mapping[str, Any], number: int) -> bool:
        """Create the states that the number-th parameter should have and lacks; returns True if they begin here."""
        return states.begin(self.state[p], self.method.parameter_states, p, group, number=number)

    def set_state(self, p: Tensor, **values: Tensor | float) -> None:
        """Give states of a parameter values, such as first values before the first step."""
        for name, value in values.items():
            self.state[p][name] = states.store(self.method.states[name], value, p)

    def state_bytes(self) -> int:
        """Bytes of state once every parameter has had a gradient; single numbers for the model are not counted."""
        return sum(self.state_bytes_of(p, group) for group in self.param_groups for p in group["params"])

    def state_bytes_of(self, p: Tensor, group: Mapping[str, Any]) -> int:
        """The same for one parameter."""
        return sum(states.nbytes(declared, p, group) for declared in self.method.parameter_states.values())

    # saving -------------------------------------------------------------------------------------------------
    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain containers of tensors and numbers, which ``torch.load(weights_only=True)`` accepts.

        The states of each parameter stand under flat names. Groups hold, beside options, what belongs to the model as
        a whole: its states, counts, the method with its version, what wrappers count. Parameters that were given by
        name carry their names along (``param_names`` in each group).
        """
        saved = checkpoint.with_each_parameter(super().state_dict())
        entries = saved["state"]
        for k, p in enumerate(p for group in self.param_groups for p in group["params"]):
            if p.is_complex() and k in entries:
                entries[k] = states.as_parameter(entries[k], self.method.parameter_states, p)
        return saved

    def load_state_dict(  # type: ignore[override]  # torch's returns nothing
        self,
        state_dict: dict[str, Any],
        strict: bool = True,
        *,
        rename: Rename | None = None,
        options: Options | None = None,
    ) -> LoadResult:
        """Take over a state; it is checked as a whole before anything is changed.

        Parameters are matched by name if both sides know them, otherwise by order. Names are the same with and without
        what ``torch.compile`` and DDP put before them (``_orig_mod.``, ``module.``). What values states have is not
        looked at: those of a training that has diverged come back as they were.

        Args:
            state_dict: what :meth:`state_dict` has returned, or that of torch's own optimizer of this method.
            strict: False to leave as it is what the checkpoint lacks, and to leave out what does not belong here; as
                for ``nn.Module``.
            rename: saved names of parameters to those they have here: a function or a mapping.
            options: whose options (lr, weight_decay ...) are in force afterwards: ``"saved"``, those of the checkpoint;
                ``"own"``, those of this optimizer. None: those of the checkpoint if it has the same groups, as torch
                does; otherwise this optimizer's.

        Returns:
            What was missing and what was left out, by name; both empty if ``strict``.

        Raises:
            CheckpointMismatch: it comes from another model or another method, or something is missing or has another
                shape; nothing is changed then.
            InvalidOption: an option in it is out of range.
        """
        state_dict = checkpoint.before_loading(self, state_dict)
        wrappers = [name for name, _ in checkpoint.layers_of(self.param_groups)[1:]]
        with torch.inference_mode(mode=False):
            loading = checkpoint.Loading(
                self, state_dict, strict=strict, rename=rename, options=options, kin=_kin(type(self))
            )
            check_states(loading, self.method, wrappers)
            self._take_over(loading)
        checkpoint.after_loading(self)
        return loading.result

    def _take_over(self, loading: checkpoint.Loading) -> None:
        declared = self.method.parameter_states
        entries = {} if loading.strict else dict(self.state)
        entries |= {m.p: states.restore(m.saved, declared, m.p) for m in loading.members if m.saved}
        groups = [
            {"params": own["params"], **group} for own, group in zip(self.param_groups, loading.groups, strict=True)
        ]
        self.__setstate__({"state": defaultdict(dict, entries), "param_groups": groups})
        for name, value in self.whole.items():
            shared = states.store_whole(value, self._device())
            for group in self.param_groups:
                alone = self.method.is_alone(group)
                group[name] = states.store_whole(group[name], self._device()) if alone else shared

    def forget(self) -> None:
        """Begin without anything that is not saved; called by the constructor, and when other states are loaded.

        What a method keeps from an evaluation to its step is set here: as an attribute of the class it would hide the
        optimizer's own from a host's proxy.
        """
        self._seeding = draws.Seeding.present()


def _kin(cls: type[StatefulOptimizer]) -> set[str]:
    """The names of the methods whose states mean what those of a class do: all inherit them from one class."""
    look_at = [c for c in cls.__mro__ if issubclass(c, StatefulOptimizer) and "method" in vars(c)]
    kin: set[type[StatefulOptimizer]] = set()
    while look_at:
        c = look_at.pop()
        if c not in kin and c.method.states == cls.method.states:
            kin.add(c)
            look_at += c.__subclasses__()
    return {c.method.name for c in kin}
