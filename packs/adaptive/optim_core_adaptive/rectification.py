"""The rectification of RAdam, which other methods borrow."""

from __future__ import annotations

import warnings
from collections.abc import Set as AbstractSet
from typing import Any

from optim_core.errors import InvalidOption
from optim_core.rules import Value, sqrt


def rectification(beta2: Value, step: Value, *, least: Value | int = 5) -> Value | None:
    """The factor r_t, or None in the first steps (rho_t < least), in which the variance of 1/sqrt(v) is not tractable.

    The paper's theory needs rho_t > 4, where r_t begins to be a number above 0; its authors' code takes 5.
    """
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * step * beta2**step / (1 - beta2**step)
    if length < least or length <= 4:
        return None
    return sqrt((length - 4) / (longest - 4) * (length - 2) / length * longest / (longest - 2))


def warn_if_never_rectified(
    name: str, betas: tuple[float, float], consequence: str, *, least: int = 5, stacklevel: int = 4
) -> None:
    """Warn of a beta2 so small that rho_t never reaches ``least``."""
    needed = 1 - 2 / (least + 1)
    if betas[1] <= needed:
        warnings.warn(
            f"{name}: with betas={betas} the rectification never sets in (it needs betas[1] > {needed:.3g}), so "
            f"{consequence}; raise betas[1], for instance betas=({betas[0]:g}, 0.99)",
            UserWarning,
            stacklevel=stacklevel,
        )


def rectified_options(name: str, options: dict[str, Any], given: AbstractSet[str]) -> dict[str, Any]:
    """The options of a method that rectifies or has amsgrad; warns of betas without rectification.

    Raises:
        InvalidOption: it is to do both.
    """
    if options["amsgrad"] and options["rectify"]:
        raise InvalidOption(f"{name}: amsgrad=True has no effect on rectified steps: add rectify=False")
    if "betas" in given and options["rectify"]:
        effect = "every step is a momentum step" if options["degenerated_to_sgd"] else "nothing ever moves"
        warn_if_never_rectified(name, options["betas"], effect, stacklevel=5)
    return options
