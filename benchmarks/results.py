"""What a run found out, as plain data that goes to JSON and back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One contender on one set of shapes.

    Attributes:
        shapes, method, library, setting: who, on what.
        seconds: of each round's turn, the least time of a step.
        baseline: the least time of fused AdamW in the same rounds.
        copy_rate: bytes a second that a copy moved in the same rounds, at its best.
        first: seconds of the first step: states, tracing, compilation.
        extra_bytes: peak memory of a step beside what is kept; None where it cannot be told.
        engine: what ran it and why, in our own library's words.
    """

    shapes: str
    method: str
    library: str
    setting: str
    seconds: list[float]
    baseline: float
    copy_rate: float
    first: float
    extra_bytes: int | None = None
    engine: str = ""

    @property
    def best(self) -> float:
        """The least time of a step: on a shared machine the steadiest figure."""
        return min(self.seconds)

    @property
    def ratio(self) -> float:
        """The same as a multiple of fused AdamW's."""
        return self.best / self.baseline


@dataclass(frozen=True, kw_only=True)
class Method:
    """What is known of a method apart from any time.

    Attributes:
        name: in the registry.
        work: ``elementwise``, ``reductions`` or ``matrices``.
        bytes_moved: bytes a step must move, by set of shapes; 0 where it is not known.
        given: what it was handed ready-made.
    """

    name: str
    work: str
    bytes_moved: dict[str, int]
    given: str = ""


@dataclass(frozen=True, kw_only=True)
class Absence:
    """A contender without a time, and why."""

    shapes: str
    method: str
    library: str
    setting: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class FirstStep:
    """The first step of a fresh process.

    Attributes:
        what: whose step.
        tensors: how many parameters.
        cached: whether an earlier process had left its compiled code.
        seconds: of the first step; None if it failed.
        second: seconds of the step after it.
        failure: why it failed.
    """

    what: str
    tensors: int
    cached: bool
    seconds: float | None
    second: float | None = None
    failure: str = ""


@dataclass(kw_only=True)
class Results:
    """A whole run."""

    environment: dict[str, str] = field(default_factory=dict)
    rounds: int = 0
    engines: list[str] = field(default_factory=list)
    baseline_bytes: dict[str, int] = field(default_factory=dict)
    methods: list[Method] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    absences: list[Absence] = field(default_factory=list)
    first_steps: list[FirstStep] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read what :meth:`save` wrote."""
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        parts = {"methods": Method, "measurements": Measurement, "absences": Absence, "first_steps": FirstStep}
        found: dict[str, Any] = {k: [parts[k](**x) for x in v] if k in parts else v for k, v in data.items()}
        return cls(**found)
