"""Sets of coefficients for the Newton-Schulz iteration, and the options that go with each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optim_core.errors import InvalidOption
from optim_core.names import did_you_mean

Triple = tuple[float, float, float]
#: One triple for all steps, one for each step, or the name of a set.
Coefficients = str | Triple | tuple[Triple, ...]

MUON: Triple = (3.4445, -4.7750, 2.0315)
#: Converges to singular values of 1, slowly.
CONVERGENT: Triple = (2.0, -1.5, 0.5)


@dataclass(frozen=True)
class CoefficientSet:
    """A set.

    Attributes:
        triples: a, b and c of each step.
        doc: where it is from.
        options: what else is in force with it, unless given.
    """

    triples: tuple[Triple, ...]
    doc: str
    options: Mapping[str, Any] = field(default_factory=dict)


SETS: Mapping[str, CoefficientSet] = {
    "muon": CoefficientSet((MUON,), "Jordan et al., 2024"),
    "quintic5": CoefficientSet(
        (
            (4.0848, -6.8946, 2.9270),
            (3.9505, -6.3029, 2.6377),
            (3.7418, -5.5913, 2.3037),
            (2.8769, -3.1427, 1.2046),
            (2.8366, -3.0525, 1.2012),
        ),
        "You Jiacheng's",
    ),
    # the paper's, divided by 1.01, 1.01^3 and 1.01^5, and rounded
    "polar_express": CoefficientSet(
        (
            (8.2051, -22.9019, 16.4607),
            (4.0664, -2.8612, 0.5184),
            (3.9096, -2.8234, 0.5250),
            (3.2856, -2.4153, 0.4853),
            (2.2779, -1.6198, 0.3985),
            (1.8726, -1.2307, 0.3585),
            (1.8564, -1.2132, 0.3568),
            (1.8750, -1.2500, 0.3750),
        ),
        "Amsel et al., 2025, https://arxiv.org/abs/2505.16932",
        {"ns_end": "repeat_last"},
    ),
    "cans": CoefficientSet(
        (
            (8.4703, -25.1081, 18.6293),
            (4.1828, -3.1087, 0.5806),
            (3.9619, -2.9541, 0.5630),
            (3.2866, -2.4647, 0.5074),
            (2.2737, -1.6447, 0.4162),
        ),
        "Grishina et al., 2025, https://arxiv.org/abs/2506.10935",
        {"ns_end": "repeat_last"},
    ),
    "deepseekv4": CoefficientSet(
        (*[MUON] * 8, CONVERGENT, CONVERGENT), "DeepSeek V4", {"ns_steps": 10, "ns_end": "repeat_last"}
    ),
    "cubic5": CoefficientSet(
        (
            (3.3656576, -3.3420992, 0.0),
            (2.5744352, -1.4957376, 0.0),
            (2.5368962, -1.4312570, 0.0),
            (2.4418906, -1.2764040, 0.0),
            (2.2230472, -0.9630650, 0.0),
        ),
        "https://arxiv.org/abs/2606.00371; one product less a step",
        {"ns_steps": 5},
    ),
    "turbo": CoefficientSet(
        (
            (4.6051, -9.6552, 5.6769),
            (4.7505, -6.0861, 2.1790),
            (2.7763, -2.3190, 0.5523),
            (2.4231, -2.2861, 0.8193),
        ),
        "Turbo-Muon, https://arxiv.org/abs/2512.04632",
        {"ns_steps": 4, "ns_norm": "aol"},
    ),
}


def with_set(options: dict[str, Any], given: frozenset[str], owner: str) -> dict[str, Any]:
    """Options with those that go with a set of coefficients named among them.

    Raises:
        InvalidOption: there is no set of that name.
    """
    name = options["ns_coefficients"]
    if not isinstance(name, str) or "ns_coefficients" not in given:
        return options
    if name not in SETS:
        near = did_you_mean(name, SETS)
        raise InvalidOption(
            f"{owner}: ns_coefficients={name!r} is no set of coefficients.{near} There are {', '.join(SETS)}; or give "
            "a, b and c, or a tuple of such triples"
        )
    return options | {key: value for key, value in SETS[name].options.items() if key not in given}


def triples_of(coefficients: Coefficients, steps: int, end: str) -> Sequence[Triple]:
    """a, b and c of each step.

    Args:
        coefficients: as the option ``ns_coefficients``.
        steps: how many.
        end: where there are more steps than triples, ``"cycle"`` begins again and ``"repeat_last"`` stays.

    Example:
        >>> [a for a, _, _ in triples_of("quintic5", 6, "cycle")]
        [4.0848, 3.9505, 3.7418, 2.8769, 2.8366, 4.0848]
        >>> triples_of((2.0, -1.5, 0.5), 2, "repeat_last")
        [(2.0, -1.5, 0.5), (2.0, -1.5, 0.5)]
    """
    if isinstance(coefficients, str):
        table = SETS[coefficients].triples
    elif isinstance(coefficients[0], tuple):
        table = coefficients
    else:
        table = (coefficients,)
    last = len(table) - 1
    return [table[i % len(table) if end == "cycle" else min(i, last)] for i in range(steps)]
