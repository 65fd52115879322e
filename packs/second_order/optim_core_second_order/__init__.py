"""Optimizers that use curvature."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optim_core.catalog import exports

if TYPE_CHECKING:
    from optim_core_second_order.adahessian import AdaHessian
    from optim_core_second_order.apollo import Apollo
    from optim_core_second_order.distributedshampoo import DistributedShampoo
    from optim_core_second_order.kron import Kron
    from optim_core_second_order.muon import Muon
    from optim_core_second_order.scalableshampoo import ScalableShampoo
    from optim_core_second_order.shampoo import Shampoo
    from optim_core_second_order.soap import SOAP
    from optim_core_second_order.sophiag import SophiaG
    from optim_core_second_order.sophiah import SophiaH

__all__ = [
    "SOAP",
    "AdaHessian",
    "Apollo",
    "DistributedShampoo",
    "Kron",
    "Muon",
    "ScalableShampoo",
    "Shampoo",
    "SophiaG",
    "SophiaH",
]

__getattr__, __dir__ = exports(__name__)
