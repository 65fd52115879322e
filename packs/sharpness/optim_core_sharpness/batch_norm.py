"""Running statistics that stand still while weights are elsewhere."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase


class RunningStatistics:
    """The running statistics of a model's normalisation layers.

    Args:
        model: whose; None for nobody's.
    """

    def __init__(self, model: nn.Module | None) -> None:
        self._model = model
        self._layers: list[_NormBase] | None = None
        self._stopped: list[tuple[_NormBase, float | None, bool]] = []

    def stop(self) -> None:
        """Have them stand still, in layers that are evaluated in training mode."""
        if self._layers is None:
            modules = () if self._model is None else self._model.modules()
            self._layers = [m for m in modules if isinstance(m, _NormBase)]
        for layer in self._layers:
            if layer.track_running_stats:
                self._stopped.append((layer, layer.momentum, layer.track_running_stats))
                layer.momentum = 0.0
                # what does not track neither counts batches; instance normalisation counts none, and asks otherwise
                layer.track_running_stats = not isinstance(layer, _BatchNorm)

    def resume(self) -> None:
        """Have them move on as before."""
        for layer, momentum, tracking in self._stopped:
            layer.momentum, layer.track_running_stats = momentum, tracking
        self._stopped = []
