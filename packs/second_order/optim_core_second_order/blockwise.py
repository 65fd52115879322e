"""Which matrices a model's parameters are made of, told from modules or by a function of the user's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from torch import nn

#: Name, module and parameter to what the option ``blocks`` takes.
Chooser: TypeAlias = Callable[[str, nn.Module, nn.Parameter], str | None]
#: The same as a function, or by the type of the module.
BlocksChoice: TypeAlias = Chooser | Mapping[type[nn.Module], str | None]


def by_module(name: str, module: nn.Module, p: nn.Parameter) -> str | None:
    """The blocks of parameters of torch's own modules.

    The heads of queries, keys and values in ``nn.MultiheadAttention``, the gates of recurrent layers, the groups of
    convolutions, and the matrices of ``nn.Bilinear``. Vectors, and the output projection of attention, stay whole.
    """
    word = name.rpartition(".")[2]
    if p.ndim < 2:
        return None
    if isinstance(module, nn.MultiheadAttention):
        return f"rows/{module.num_heads * (3 if word == 'in_proj_weight' else 1)}"
    if isinstance(module, nn.RNNBase):
        gates = {"LSTM": 4, "GRU": 3}.get(module.mode, 1)
        return f"rows/{gates}" if gates > 1 and not word.startswith("weight_hr") else None
    if isinstance(module, nn.modules.conv._ConvNd):
        return "flat" if module.groups == 1 else f"rows/{module.groups}"
    return "batch" if isinstance(module, nn.Bilinear) else None


def with_blocks(
    groups: Iterable[Mapping[str, Any]], model: nn.Module, choose: BlocksChoice = by_module
) -> list[dict[str, Any]]:
    """Groups cut further, one for each kind of blocks.

    Args:
        groups: groups with names, ``params`` being pairs of name and parameter.
        model: the model that they are of.
        choose: says what is made of each parameter; or a mapping from types of modules to that.
    """
    where = {p: (name, module) for name, module, p in _named(model)}
    cut: list[dict[str, Any]] = []
    for group in groups:
        kinds: dict[str | None, list[tuple[str, nn.Parameter]]] = {}
        for name, p in group["params"]:
            kinds.setdefault(_chosen(choose, name, where[p][1], p), []).append((name, p))
        cut += [{**group, "params": params, "blocks": blocks} for blocks, params in kinds.items()]
    return cut


def blocks(
    model: nn.Module,
    *,
    lr: float | None = None,
    weight_decay: float | None = None,
    choose: BlocksChoice = by_module,
) -> list[dict[str, Any]]:
    """Groups of all parameters of a model, one for each kind of blocks: ``create_optimizer(..., groups="blocks")``.

    Args:
        model: the model.
        lr, weight_decay: not changed.
        choose: as in :func:`with_blocks`.
    """
    del lr, weight_decay
    return with_blocks([{"params": [(name, p) for name, _, p in _named(model)]}], model, choose)


def _chosen(choose: BlocksChoice, name: str, module: nn.Module, p: nn.Parameter) -> str | None:
    if p.ndim < 2:
        return None
    if isinstance(choose, Mapping):
        return next((blocks for kind, blocks in choose.items() if isinstance(module, kind)), None)
    return choose(name, module, p)


def _named(model: nn.Module) -> Iterable[tuple[str, nn.Module, nn.Parameter]]:
    seen: set[nn.Parameter] = set()
    for prefix, module in model.named_modules():
        for name, p in module.named_parameters(prefix, recurse=False):
            if p.requires_grad and p not in seen:
                seen.add(p)
                yield name, module, p
