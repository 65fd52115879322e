"""Loading a task by its name on the command line: a built-in one, or a user's own."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from optim_core.catalog.registry import load_addition, registry
from optim_core.compare.errors import TaskError
from optim_core.compare.task import Task
from optim_core.errors import PackDisabled, PackNotInstalled, UnknownName, UnresolvedName
from optim_core.names import did_you_mean

#: The built-in tasks: from the name to `module:function`.
BUILT_IN = {
    "digits": "optim_core.compare.tasks.digits:digits",
    "chars": "optim_core.compare.tasks.chars:chars",
}


def load_task(text: str, device: str = "cpu") -> Task:
    """Build a task from the name of a built-in one or from `module:function`.

    Args:
        text: `digits`, `chars`, or `module:function`; the function is called without arguments, or with `device=` where
            it has such a parameter.
        device: the device of the data, as torch writes devices.

    Raises:
        TaskError: no such task, module or function; the function failed, or returned something else than a `Task`;
            it has no parameter `device`, and `device` is not the CPU.
    """
    function = _of_a_pack(text) if text not in BUILT_IN else None
    if function is None:
        module_name, _, function_name = BUILT_IN.get(text, text).partition(":")
        function = _import_function(module_name, function_name, text)
    function_name = getattr(function, "__name__", text)
    arguments = _device_argument(function, device, text)
    try:
        task = function(**arguments)
    except TaskError:
        raise
    except Exception as cause:
        raise TaskError(f"task {text!r}: {function_name}() failed with {type(cause).__name__}: {cause}") from cause
    if not isinstance(task, Task):
        raise TaskError(
            f"task {text!r}: {function_name}() returned {type(task).__name__}, not optim_core.compare.Task. "
            "The docstring of optim_core.compare.task has an example."
        )
    return task


def _of_a_pack(text: str) -> Callable[..., Any] | None:
    """The function of a task that a pack brings; None for what reads as a module and a function."""
    try:
        return load_addition(*registry().addition("task", text))
    except (UnknownName, PackNotInstalled, PackDisabled) as unknown:
        if ":" in text:
            return None
        names = [f"{p.name}:{a.name}" for p in registry().packs for a in p.additions if a.noun == "task"]
        near = did_you_mean(text, [*BUILT_IN, *(name.partition(":")[2] for name in names)])
        of_packs = f"; of packs: {', '.join(names)}" if names else ""
        raise TaskError(
            f"no task {text!r}. Built in: {', '.join(BUILT_IN)}{of_packs}.{near} A task of your own is "
            "--task module:function."
        ) from unknown
    except UnresolvedName as error:
        raise TaskError(f"task {text!r}: {error}") from error


def _device_argument(function: Callable[..., Any], device: str, text: str) -> dict[str, Any]:
    if "device" in inspect.signature(function).parameters:
        return {"device": device}
    if device != "cpu":
        name = function.__name__
        raise TaskError(
            f"task {text!r} cannot be put on {device!r}: {name}() has no parameter `device`. "
            f"Write def {name}(device: str = 'cpu') and put its data there."
        )
    return {}


def _import_function(module_name: str, function_name: str, text: str) -> Callable[..., Any]:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except Exception as cause:
        raise TaskError(
            f"task {text!r}: importing {module_name!r} failed with {type(cause).__name__}: {cause}. The module must be "
            "in the current directory, or installed."
        ) from cause
    function = getattr(module, function_name, None)
    if not callable(function):
        public = [name for name, value in vars(module).items() if inspect.isfunction(value) and name[0] != "_"]
        raise TaskError(
            f"task {text!r}: {module_name!r} has no function {function_name!r}; it has: {', '.join(public) or 'none'}"
        )
    return cast("Callable[..., Any]", function)
