"""Optimizers that use curvature."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optim_core.catalog import exports

if TYPE_CHECKING:
    from optim_core_second_order.adahessian import AdaHessian
    from optim_core_second_order.apollo import Apollo
    from optim_core_second_order.distributedshampoo import DistributedShampoo
    from optim_core_second_order.fira import Fira
    from optim_core_second_order.galore import GaLore
    from optim_core_second_order.ivon import IVON
    from optim_core_second_order.klshampoo import KLShampoo
    from optim_core_second_order.klsoap import KLSOAP
    from optim_core_second_order.kron import Kron
    from optim_core_second_order.lather import LATHER
    from optim_core_second_order.lbfgs import LBFGS
    from optim_core_second_order.ldadam import LDAdamW
    from optim_core_second_order.muon import Muon
    from optim_core_second_order.psgdpro import PSGDPRO
    from optim_core_second_order.qsgd import QSGD
    from optim_core_second_order.racs import RACS
    from optim_core_second_order.scalableshampoo import ScalableShampoo
    from optim_core_second_order.shampoo import Shampoo
    from optim_core_second_order.sinksoap import SinkSOAP
    from optim_core_second_order.soap import SOAP
    from optim_core_second_order.soapmuon import SOAPMuon
    from optim_core_second_order.sophiag import SophiaG
    from optim_core_second_order.sophiah import SophiaH
    from optim_core_second_order.splus import SPlus

__all__ = [
    "IVON",
    "KLSOAP",
    "LATHER",
    "LBFGS",
    "PSGDPRO",
    "QSGD",
    "RACS",
    "SOAP",
    "AdaHessian",
    "Apollo",
    "DistributedShampoo",
    "Fira",
    "GaLore",
    "KLShampoo",
    "Kron",
    "LDAdamW",
    "Muon",
    "SOAPMuon",
    "SPlus",
    "ScalableShampoo",
    "Shampoo",
    "SinkSOAP",
    "SophiaG",
    "SophiaH",
]

__getattr__, __dir__ = exports(__name__)
