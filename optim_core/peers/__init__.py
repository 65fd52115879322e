"""Other libraries' optimizers, translated: their names and options to ours."""

from optim_core.peers.counterpart import Counterpart, from_peer

__all__ = ["Counterpart", "from_peer"]
