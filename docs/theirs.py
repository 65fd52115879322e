"""What other libraries' optimizers need to run: timm without torchvision, parameters as a class wants them."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import types
from collections.abc import Sequence
from typing import Any

from torch.nn import Parameter, ParameterList


def models_of_timm() -> Any:
    """Have timm.optim importable where torchvision is not, which timm's models need and its optimizers do not.

    Raises:
        ImportError: timm is not installed.
    """
    found = importlib.util.find_spec("timm") if "timm" not in sys.modules else sys.modules["timm"].__spec__
    if found is None or not found.submodule_search_locations:
        raise ImportError("timm is not installed")
    try:
        importlib.import_module("timm")
    except Exception:  # noqa: BLE001 - torchvision's wheels on PyPI raise a RuntimeError beside a torch without CUDA
        for name in [name for name in sys.modules if name.partition(".")[0] in ("timm", "torchvision")]:
            del sys.modules[name]
        whole, models = types.ModuleType("timm"), types.ModuleType("timm.models")
        whole.__path__, whole.__spec__ = list(found.submodule_search_locations), found
        models.group_parameters = None  # type: ignore[attr-defined]  # what timm.optim imports of it
        sys.modules |= {"timm": whole, "timm.models": models}
    return importlib.import_module("timm.optim")


def given(cls: Any, params: Sequence[Parameter]) -> Any:
    """The parameters as a class wants them: as a model, or, for pytorch_optimizer's Muons, in groups that say whose."""
    takes = inspect.signature(cls).parameters
    if "model" in takes:
        return ParameterList(params)
    if "adamw_lr" in takes and cls.__module__.startswith("pytorch_optimizer"):
        split = {muon: [p for p in params if (p.ndim > 1) is muon] for muon in (True, False)}
        return [{"params": found, "use_muon": muon} for muon, found in split.items()]
    return list(params)
