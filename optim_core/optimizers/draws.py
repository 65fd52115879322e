"""Random numbers: an optimizer's own, and those that a closure draws from torch's global streams."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from optim_core.optimizers.gradients import parameters


def hashed_seed(*facts: object) -> int:
    """A seed that follows from facts, and has no likeness to seeds that follow from others: 0 to 2^63 - 1.

    Args:
        facts: what has a ``repr`` that is the same in each process.

    Example:
        >>> hashed_seed("PCGrad", 0, 1) == hashed_seed("PCGrad", 0, 1) != hashed_seed("PCGrad", 1, 0)
        True
    """
    return int.from_bytes(hashlib.sha256(repr(facts).encode()).digest()[:8], "big") >> 1


class Seeding:
    """A time during which torch's global generator was not seeded anew; optimizers of it have seeds of their own.

    A seed follows from torch's, the method, the shapes, and how many optimizers had all that in common before. So the
    same program gets the same draws, on each rank, and so does one that calls ``torch.manual_seed`` and starts again.
    """

    def __init__(self) -> None:
        self._mark = _mark()
        self._seeds = torch.initial_seed()
        self._made: Counter[int] = Counter()

    @classmethod
    def present(cls) -> Seeding:
        """That of now."""
        global _present  # noqa: PLW0603 - torch's seed is global
        if _present is None or _present._seeds != torch.initial_seed() or not _same(_present._mark, _mark()):
            _present = cls()
        return _present

    def fresh_seed(self, optimizer: Optimizer, name: str) -> int:
        """A seed for an optimizer of its own.

        Args:
            optimizer: whose; made while torch was seeded like this.
            name: its method.
        """
        facts = (self._seeds, name, [tuple(p.shape) for p in parameters(optimizer)])
        kind = hashed_seed(*facts)
        self._made[kind] += 1
        return hashed_seed(*facts, self._made[kind])


_present: Seeding | None = None


def _mark() -> Sequence[object]:
    """What ``torch.manual_seed`` leaves behind that is another object each time.

    torch counts no seedings. But for devices that are not in use yet it keeps a call for later, a new one each time. (A
    torch that does not: then optimizers are counted from the start of the process.)
    """
    return [
        getattr(getattr(module, "_lazy_seed_tracker", None), "manual_seed_all_cb", None)
        for module in (torch.cuda, torch.xpu)
    ]


def _same(a: Sequence[object], b: Sequence[object]) -> bool:
    return all(x is y for x, y in zip(a, b, strict=True))


class GlobalStreams:
    """Torch's global random streams as they are now, to be drawn from once more.

    Args:
        tensors: on whose devices, beside the CPU.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self._devices = {p.device for p in tensors if p.device.type not in ("cpu", "meta")}
        self._states = self._now()

    @contextmanager
    def again(self) -> Iterator[None]:
        """For the time of a ``with``, draw what was drawn since; then go on as if that had not been."""
        now = self._now()
        self._set(self._states)
        try:
            yield
        finally:
            self._set(now)

    def _now(self) -> dict[Any, Tensor]:
        states: dict[Any, Tensor] = {None: torch.get_rng_state()}
        return states | {d: torch.get_device_module(d.type).get_rng_state(d) for d in self._devices}

    def _set(self, states: dict[Any, Tensor]) -> None:
        for device, state in states.items():
            if device is None:
                torch.set_rng_state(state)
            else:
                torch.get_device_module(device.type).set_rng_state(state, device)
