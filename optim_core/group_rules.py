"""The core's own rules for parameter groups, known by name to ``create_optimizer(groups=...)``.

Each is called as ``rule(model, lr=lr, weight_decay=weight_decay, **options)``; see :mod:`optim_core.grouping`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from inspect import signature
from typing import Any

from torch import nn

from optim_core.errors import InvalidOption


def no_decay(
    model: nn.Module,
    *,
    lr: float | None = None,
    weight_decay: float | None = None,
    no_weight_decay_list: Iterable[str] = (),
    additional_layers: Iterable[str] = (),
    weight_decay_exclude_1d: bool = True,
) -> list[dict[str, Any]]:
    """No weight decay for biases, for all of fewer than two dimensions, and for what ``model.no_weight_decay()`` names.

    Groups: those without decay first, as timm and optimi have them. transformers' Trainer has them the other way round,
    and goes by the type of the layer: that is ``create_optimizer`` without a rule.

    Args:
        model: the model.
        lr: not changed.
        weight_decay: of the rest.
        no_weight_decay_list: patterns in the manner of shells for whole names that shall not decay: ``"*pos_embed"``.
        additional_layers: parts of names that shall not decay.
        weight_decay_exclude_1d: False to decay biases and vectors, too.

    Source: timm's ``param_groups_weight_decay``, whose patterns and switch these are, and optimi's, whose
    ``additional_layers`` they are. timm's groups for Muon's AdamW are a matter of the method here.
    """
    del lr
    patterns = [*no_weight_decay_list, *_listed_by(model)]
    decayed: list[Any] = []
    others: list[Any] = []
    for name, p in _trainable(model):
        is_other = _leaves_alone(name, p, patterns, weight_decay_exclude_1d) or any(
            x in name for x in additional_layers
        )
        (others if is_other else decayed).append((name, p))
    without = {} if weight_decay is None else {"weight_decay": 0.0, "why": _WHY}
    return [group for group in ({"params": others, **without}, {"params": decayed}) if group["params"]]


_WHY = "no decay: fewer than two dimensions, or named by the model"
#: What wrappers of models put before names.
_PREFIXES = re.compile(r"^(?:module\.|_orig_mod\.)+")


def _listed_by(model: nn.Module) -> Iterable[str]:
    own: Any = getattr(model, "no_weight_decay", None)
    return own() if callable(own) else ()


def _leaves_alone(name: str, p: nn.Parameter, patterns: Iterable[str], exclude_1d: bool) -> bool:
    plain = _PREFIXES.sub("", name)
    return (exclude_1d and (p.ndim < 2 or name.endswith(".bias"))) or any(fnmatchcase(plain, x) for x in patterns)


def layerwise_decay(
    model: nn.Module, *, lr: float | None = None, weight_decay: float | None = None, decay: float = 0.75
) -> list[dict[str, Any]]:
    """lr times ``decay`` for each layer between a parameter and the output.

    Layers are the children of the outermost ``ModuleList`` or ``Sequential``; what comes before them counts as layer 0,
    what comes after as the last.

    Args:
        model: the model.
        lr: of the last layer.
        weight_decay: not changed.
        decay: the factor for a layer, above 0 and at most 1.

    Raises:
        InvalidOption: the factor is out of range, the method has no lr, or the model has no layers.

    Source: Clark, Luong, Le and Manning, ELECTRA, 2020, https://arxiv.org/abs/2003.10555, section A.
    """
    del weight_decay
    if not 0 < decay <= 1:
        raise InvalidOption(f"layerwise_decay: decay={decay!r} should be above 0 and at most 1")
    if lr is None:
        raise InvalidOption("layerwise_decay multiplies lr, which this method does not have")
    depths, last = _depths(model)
    if last < 1:
        raise InvalidOption("layerwise_decay finds no layers: they are the children of a ModuleList or Sequential")
    by_depth: dict[int, list[Any]] = {}
    for name, p in _trainable(model):
        by_depth.setdefault(depths[name], []).append((name, p))
    return [
        {"params": pairs, "lr": lr * decay ** (last - depth), "why": f"layer {depth} of {last}"}
        for depth, pairs in sorted(by_depth.items())
    ]


def _depths(model: nn.Module) -> tuple[dict[str, int], int]:
    """The layer of each parameter, and the number of the last one."""
    containers = [name for name, m in model.named_modules() if isinstance(m, (nn.ModuleList, nn.Sequential))]
    outermost = [n for n in containers if not any(_inside(n, other) for other in containers if other != n)]
    depths: dict[str, int] = {}
    depth, seen, current = 0, "", ""
    for name, _ in model.named_parameters():
        inside = next((c for c in outermost if _inside(name, c)), None)
        if inside is None:
            layer = f"after {seen}" if seen else ""
        else:
            layer = seen = ".".join(name.split(".")[: (inside.count(".") + 1 if inside else 0) + 1])
        if depths and layer != current:
            depth += 1
        current, depths[name] = layer, depth
    return depths, depth


def _inside(name: str, module: str) -> bool:
    return not module or name.startswith(f"{module}.")


def layer_decay(
    model: nn.Module,
    *,
    lr: float | None = None,
    weight_decay: float | None = None,
    layer_decay: float = 0.75,
    min_scale: float = 0.0,
    no_opt_scale: float | None = None,
    no_weight_decay_list: Iterable[str] = (),
    weight_decay_exclude_1d: bool = True,
    layers_per_group: int = 12,
    group_matcher: Mapping[str, Any] | None = None,
    head: str | None = None,
) -> list[dict[str, Any]]:
    r"""lr times ``layer_decay`` for each layer between a parameter and the output, with timm's layers and no decay.

    Each group's lr is the scaled one, so that any optimizer and schedule goes with it; ``lr_scale`` beside it says by
    how much (timm leaves the multiplication to its own schedulers).

    Args:
        model: the model; one of timm's says itself what its layers are (``model.group_matcher()``).
        lr: of the last layer.
        weight_decay: of what decays; see :func:`no_decay` for what does not.
        layer_decay: the factor for a layer, above 0 and at most 1.
        min_scale: lower bound of the scale.
        no_opt_scale: layers whose scale is below it are frozen (``requires_grad_(False)``) and left out.
        no_weight_decay_list, weight_decay_exclude_1d: as :func:`no_decay`.
        layers_per_group: how many tensors, as registered, make a layer, where nothing says what the layers are.
        group_matcher: in the order of layers, a regular expression for the start of names, whose numbers tell layers
            apart; or several, each with an order: ``{"stem": "embed", "blocks": [(r"blocks\.(\d+)", None)]}``.
            The order (99999,) means: with the layer before. What matches none is the last layer.
        head: where nothing matches, what names of the last layer begin with; timm's models say it.

    Raises:
        InvalidOption: the factor is out of range, the method has no lr, or nothing says which layer is the last.

    Source: Bao et al., BEiT, 2021, https://arxiv.org/abs/2106.08254; layers as in timm's
    ``param_groups_layer_decay``.
    """
    if lr is None or not 0 < layer_decay <= 1:
        raise InvalidOption(
            "layer_decay multiplies lr, which this method does not have"
            if lr is None
            else f"layer_decay: layer_decay={layer_decay!r} should be above 0 and at most 1"
        )
    layers = _layers(model, group_matcher, head, layers_per_group)
    last, patterns = max(layers.values(), default=0), [*no_weight_decay_list, *_listed_by(model)]
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, p in _trainable(model):
        scale = max(min_scale, layer_decay ** (last - layers[name]))
        if no_opt_scale and scale < no_opt_scale:
            p.requires_grad_(False)
            continue
        alone = _leaves_alone(name, p, patterns, weight_decay_exclude_1d)
        why = f"layer {layers[name]} of {last}" + (f", {_WHY}" if alone else "")
        group = {"params": [], "lr": lr * scale, "lr_scale": scale, "why": why}
        if weight_decay is not None:
            group["weight_decay"] = 0.0 if alone else weight_decay
        groups.setdefault((layers[name], alone), group)["params"].append((name, p))
    return list(groups.values())


def _layers(model: nn.Module, matcher: Mapping[str, Any] | None, head: str | None, size: int) -> dict[str, int]:
    """The layer of each parameter, frozen ones included, 0 at the input."""
    names = [name for name, _ in model.named_parameters()]
    own: Any = getattr(model, "group_matcher", None)
    if matcher is None and head is None and callable(own):
        matcher = own(coarse=False) if "coarse" in signature(own).parameters else own()
    if matcher is not None:
        return _matched(names, matcher)
    configuration: Any = getattr(model, "pretrained_cfg", None) or {}
    head = head or configuration.get("classifier")
    if not head:
        raise InvalidOption(
            "layer_decay does not know the last layer: give it groups=('layer_decay', {'head': 'NAME'}) or a "
            "group_matcher, or take layerwise_decay, which goes by ModuleList and Sequential"
        )
    others = [name for name in names if not _PREFIXES.sub("", name).startswith(head)]
    chunks = {name: i // size for i, name in enumerate(others)}
    return {name: chunks.get(name, -(-len(others) // size)) for name in names}


def _matched(names: Sequence[str], matcher: Mapping[str, Any]) -> dict[str, int]:
    """Layers by regular expressions."""
    expressions = [
        (re.compile(text), (float(i),), order or ())
        for i, entry in enumerate(matcher.values())
        for text, order in (entry if isinstance(entry, (list, tuple)) else [(entry, None)])
        if text is not None
    ]

    def key(name: str) -> tuple[float, ...]:
        for expression, before, after in expressions:
            found = expression.match(_PREFIXES.sub("", name))
            if found:
                return (*before, *map(float, filter(None, found.groups())), *map(float, after))
        return (math.inf,)

    keys = {name: key(name) for name in names}
    layers: dict[tuple[float, ...], int] = {}
    for k in sorted(set(keys.values())):
        layers[k] = max(0, len(set(layers.values())) - (k[-1] == _WITH_PREVIOUS))
    return {name: layers[keys[name]] for name in names}


#: The order of what belongs to the layer before.
_WITH_PREVIOUS = 99999
#: What parameters of a low-rank update are called that start at zero: peft's, torchtune's and loralib's names.
_SECOND_FACTOR = re.compile(r"(^|\.)lora_(embedding_)?[bB](\.|$)")


def lora_plus(
    model: nn.Module,
    *,
    lr: float | None = None,
    weight_decay: float | None = None,
    ratio: float = 16.0,
    pattern: str | None = None,
    embedding_lr: float | None = None,
) -> list[dict[str, Any]]:
    """A larger lr for the second factor of low-rank updates: B of W + B A, which starts at zero.

    The rest, A among it, keeps lr; choose that a little lower than without. For which parameters decay see ``no_decay``
    of ``create_optimizer``.

    Args:
        model: the model with its adapters, in which all else is frozen.
        lr: of A.
        weight_decay: not changed.
        ratio: lr of B over that of A, at least 1: 16 for language models in the authors' code; less where the task is
            easy.
        pattern: a regular expression for names of B; None for those that peft, torchtune and loralib give.
        embedding_lr: lr of both factors in adapters of embeddings, where it shall differ.

    Raises:
        InvalidOption: no parameter is a B, the ratio is below 1, or the method has no lr.

    Source: Hayou, Ghosh and Yu, LoRA+: Efficient Low Rank Adaptation of Large Models, 2024,
    https://arxiv.org/abs/2402.12354; ``embedding_lr`` as in peft's ``create_loraplus_optimizer``.
    """
    del weight_decay
    if lr is None or ratio < 1:
        raise InvalidOption(f"lora_plus multiplies lr (here {lr}) by ratio={ratio!r}, which should be at least 1")
    second = _SECOND_FACTOR if pattern is None else re.compile(pattern)
    parts: dict[str, dict[str, Any]] = {
        "A": {"params": [], "lr": lr, "why": "LoRA+: lr"},
        "B": {"params": [], "lr": lr * ratio, "why": f"LoRA+: {ratio:g} lr"},
        "embedding": {"params": [], "lr": embedding_lr, "why": "LoRA+: embedding"},
    }
    for name, p in _trainable(model):
        part = "B" if second.search(name) else "A"
        if embedding_lr is not None and ".lora_embedding" in f".{name}":
            part = "embedding"
        parts[part]["params"].append((name, p))
    if not parts["B"]["params"] and not parts["embedding"]["params"]:
        raise InvalidOption(
            f"lora_plus: no trainable parameter is called as B is ({second.pattern}): give pattern=..., a regular "
            "expression for the names of the factor that starts at zero"
        )
    return [group for group in parts.values() if group["params"]]


def mup(
    model: nn.Module, *, lr: float | None = None, weight_decay: float | None = None, base: nn.Module | None = None
) -> list[dict[str, Any]]:
    """lr by width, so that the best one of a narrow model serves a wide one: muP for Adam and its relatives.

    A weight that is ``m`` times as wide at its input as in the narrow model gets lr / m; embeddings, biases and all
    other vectors keep lr. That is the part of muP that is the optimizer's: the initialisation and the multiplier of the
    output are the model's.

    Args:
        model: the wide model.
        lr: as found for the narrow one.
        weight_decay: not changed.
        base: the narrow model, made in the same way.

    Raises:
        InvalidOption: there is no narrow model, or its parameters have other names; or the method has no lr.

    Source: Yang, Hu et al., Tensor Programs V, 2022, https://arxiv.org/abs/2203.03466, table 3.
    """
    del weight_decay
    if lr is None or not isinstance(base, nn.Module):
        raise InvalidOption("mup goes by a narrow model of the same form, and by lr: groups=('mup', {'base': narrow})")
    narrow, wide = _input_widths(base), _input_widths(model)
    by_width: dict[float, list[Any]] = {}
    for name, p in _trainable(model):
        if name not in narrow:
            raise InvalidOption(f"mup: the narrow model has no {name}: make it in the same way, with smaller widths")
        by_width.setdefault(wide[name] / narrow[name], []).append((name, p))
    return [{"params": pairs, "lr": lr / m, "why": f"{m:g} times as wide as the base"} for m, pairs in by_width.items()]


def _input_widths(model: nn.Module) -> dict[str, int]:
    """How many numbers go into each output of a weight; 1 for embeddings and vectors."""
    widths = {}
    for prefix, module in model.named_modules():
        for name, p in module.named_parameters(prefix, recurse=False):
            counts = p.ndim >= 2 and not isinstance(module, (nn.Embedding, nn.EmbeddingBag))
            transposed = isinstance(module, nn.modules.conv._ConvTransposeNd)
            widths[name] = p[0].numel() if counts and not transposed else p[:, 0].numel() if counts else 1
    return widths


def _trainable(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]
