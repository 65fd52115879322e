"""torch's own optimizers under the kit: it raises no alarm but for what torch documents, or is known to do."""

from __future__ import annotations

from typing import Any

import pytest

from optim_core.catalog.kinds import KINDS
from optim_core.testing import Subject
from optim_core.testing.parametrize import parameters
from optim_core.torch_names import _classes

_EMPTY = {"check_takes_every_shape": "it divides by the number of elements, which may be zero"}
_SPARSE = "it takes sparse gradients only, as its documentation says"
_STEP_SIZES = "its documentation says that step sizes stay within step_sizes, whatever lr is"
_COPIES = "copies lack what its constructor keeps beside the groups, and cannot step"
#: By class, with the reason; each is strict.
KNOWN: dict[str, dict[str, str]] = {
    "Adafactor": _EMPTY,
    "LBFGS": {
        "check_deepcopies_continue": _COPIES,
        "check_pickles_continue": _COPIES,
        "check_memory_layout_does_not_matter": "it flattens gradients with view",
        "check_parameters_may_get_gradients_late": "it assumes one function of all parameters, as documented",
    },
    "Muon": _EMPTY,
    "Rprop": {"check_lr_zero_stands_still": _STEP_SIZES, "check_scheduled_lr_counts": _STEP_SIZES},
    "SparseAdam": {"check_takes_a_step": _SPARSE, "check_every_need_is_declared": _SPARSE},
}


def expected(subject: Any) -> dict[str, str]:
    return KNOWN.get(subject.name, {})


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    subjects = [Subject(cls) for cls in _classes(KINDS["optimizer"]).values()]
    metafunc.parametrize(("subject", "check"), parameters(subjects, expected))


def test_no_false_alarm(subject: Any, check: Any) -> None:
    check(subject)
