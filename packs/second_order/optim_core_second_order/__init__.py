"""Optimizers that use curvature."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optim_core.catalog import exports

if TYPE_CHECKING:
    from optim_core_second_order.adago import AdaGO
    from optim_core_second_order.adahessian import AdaHessian
    from optim_core_second_order.adamuon import AdaMuon
    from optim_core_second_order.alice import Alice
    from optim_core_second_order.apollo import Apollo
    from optim_core_second_order.aurora import Aurora
    from optim_core_second_order.conda import Conda
    from optim_core_second_order.contramuon import ContraMuon
    from optim_core_second_order.dash import DASH
    from optim_core_second_order.dion import Dion
    from optim_core_second_order.dion2 import Dion2
    from optim_core_second_order.dion3 import Dion3
    from optim_core_second_order.distributedshampoo import DistributedShampoo
    from optim_core_second_order.dynmuon import DynMuon
    from optim_core_second_order.fira import Fira
    from optim_core_second_order.galore import GaLore
    from optim_core_second_order.isospectral import Iso
    from optim_core_second_order.ivon import IVON
    from optim_core_second_order.klshampoo import KLShampoo
    from optim_core_second_order.klsoap import KLSOAP
    from optim_core_second_order.kron import Kron
    from optim_core_second_order.lather import LATHER
    from optim_core_second_order.lbfgs import LBFGS
    from optim_core_second_order.ldadam import LDAdamW
    from optim_core_second_order.lorarite import LoRARite
    from optim_core_second_order.mop import MOP
    from optim_core_second_order.moso import MOSO
    from optim_core_second_order.muloco import MuLoCo
    from optim_core_second_order.muon import Muon
    from optim_core_second_order.muon2 import Muon2
    from optim_core_second_order.muonclip import MuonClip
    from optim_core_second_order.muonplus import MuonPlus
    from optim_core_second_order.muown import Muown
    from optim_core_second_order.namo import NAMO
    from optim_core_second_order.newtonmuon import NewtonMuon
    from optim_core_second_order.nonlinearcg import NonlinearCG
    from optim_core_second_order.normuon import NorMuon
    from optim_core_second_order.polargrad import PolarGrad
    from optim_core_second_order.psgdlra import PSGDLRA
    from optim_core_second_order.psgdpro import PSGDPRO
    from optim_core_second_order.qsgd import QSGD
    from optim_core_second_order.racs import RACS
    from optim_core_second_order.rekls import REKLS
    from optim_core_second_order.rmnp import RMNP
    from optim_core_second_order.scalableshampoo import ScalableShampoo
    from optim_core_second_order.scion import Scion
    from optim_core_second_order.scionlight import ScionLight
    from optim_core_second_order.shampoo import Shampoo
    from optim_core_second_order.sinksoap import SinkSOAP
    from optim_core_second_order.soap import SOAP
    from optim_core_second_order.soapmuon import SOAPMuon
    from optim_core_second_order.softmuon import SoftMuon
    from optim_core_second_order.solp import SOLP
    from optim_core_second_order.sophiag import SophiaG
    from optim_core_second_order.sophiah import SophiaH
    from optim_core_second_order.spectralsphere import SpectralSphere
    from optim_core_second_order.spel import SPEL
    from optim_core_second_order.splus import SPlus

__all__ = [
    "DASH",
    "IVON",
    "KLSOAP",
    "LATHER",
    "LBFGS",
    "MOP",
    "MOSO",
    "NAMO",
    "PSGDLRA",
    "PSGDPRO",
    "QSGD",
    "RACS",
    "REKLS",
    "RMNP",
    "SOAP",
    "SOLP",
    "SPEL",
    "AdaGO",
    "AdaHessian",
    "AdaMuon",
    "Alice",
    "Apollo",
    "Aurora",
    "Conda",
    "ContraMuon",
    "Dion",
    "Dion2",
    "Dion3",
    "DistributedShampoo",
    "DynMuon",
    "Fira",
    "GaLore",
    "Iso",
    "KLShampoo",
    "Kron",
    "LDAdamW",
    "LoRARite",
    "MuLoCo",
    "Muon",
    "Muon2",
    "MuonClip",
    "MuonPlus",
    "Muown",
    "NewtonMuon",
    "NonlinearCG",
    "NorMuon",
    "PolarGrad",
    "SOAPMuon",
    "SPlus",
    "ScalableShampoo",
    "Scion",
    "ScionLight",
    "Shampoo",
    "SinkSOAP",
    "SoftMuon",
    "SophiaG",
    "SophiaH",
    "SpectralSphere",
]

__getattr__, __dir__ = exports(__name__)
