"""The hidden matrices among a model's parameters, and what the others are; told from modules, not from names."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
_LAYERS = (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd)
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def routes(model: nn.Module) -> Iterator[tuple[str, nn.Module, nn.Parameter, str]]:
    """Name, module, parameter, and why it is not a hidden matrix (empty if it is one), for all that is trained."""
    embeddings = {p for module in model.modules() if isinstance(module, _EMBEDDINGS) for p in _own(module)}
    head = [module for module in model.modules() if isinstance(module, _LAYERS)][-1:]
    seen: set[nn.Parameter] = set()
    for prefix, module in model.named_modules():
        for name, p in module.named_parameters(prefix, recurse=False):
            if p.requires_grad and p not in seen:
                seen.add(p)
                yield name, module, p, _exception(module, p, embedding=p in embeddings, last=module in head)


def _own(module: nn.Module) -> Iterator[nn.Parameter]:
    return module.parameters(recurse=False)


def _exception(module: nn.Module, p: nn.Parameter, *, embedding: bool, last: bool) -> str:
    if p.ndim < 2:
        return "fewer than two dimensions"
    if embedding:  # or tied to one
        return "an embedding"
    if last:
        return "the last layer, taken for the head"
    if isinstance(module, _NORMS):
        return "a normalisation layer"
    if any(module.children()) and not isinstance(module, nn.MultiheadAttention):
        return "beside submodules, such as a position embedding"
    return ""
