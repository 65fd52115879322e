"""Rules for parameter groups by name: the core's own, and those that packs bring.

A rule is called as ``rule(model, lr=lr, weight_decay=weight_decay, **options)`` and returns dicts whose ``params`` are
pairs of name and parameter; see :class:`optim_core.catalog.GroupsSpec`.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, TypeAlias

from torch import nn

from optim_core.catalog.registry import load_addition, registry
from optim_core.catalog.strangers import described
from optim_core.errors import InvalidOption, UnknownName
from optim_core.names import did_you_mean, normalise

Rule: TypeAlias = Callable[..., Iterable[dict[str, Any]]]
GroupsChoice: TypeAlias = "str | tuple[str, Mapping[str, Any]] | Rule"

#: More groups than any model has parameters: a rule that yields without an end is stopped there.
_MOST = 1_000_000


def groups_by(
    choice: GroupsChoice, model: nn.Module, *, lr: float | None, weight_decay: float | None
) -> list[dict[str, Any]]:
    """The groups that a rule makes of a model.

    Args:
        choice: a name, (name, options), or the rule itself.
        model: the model.
        lr, weight_decay: as they are in force; None where the method has none.

    Raises:
        UnresolvedName: there is no such rule.
        InvalidOption: the rule fails, or what it returns are not groups of all trainable parameters.
    """
    name, options = choice if isinstance(choice, tuple) else (choice, {})
    rule, label = (name, getattr(name, "__name__", repr(name))) if callable(name) else (_find(name), repr(name))
    try:
        groups = list(islice(rule(model, lr=lr, weight_decay=weight_decay, **options), _MOST))
    except InvalidOption:
        raise
    except Exception as cause:
        raise InvalidOption(f"groups={label} failed: {described(cause)}. It takes {_options_of(rule)}") from cause
    _check(groups, model, label)
    return groups


def _find(name: object) -> Rule:
    if not isinstance(name, str):
        raise InvalidOption(f"groups={name!r:.60} is neither a name, nor (name, options), nor a function of the model")
    for own, rule in OWN_RULES.items():
        if normalise(own) == normalise(name):
            return rule
    try:
        return load_addition(*registry().addition("group rule", name))
    except UnknownName as unknown:
        near = did_you_mean(name, OWN_RULES)
        raise UnknownName(f"{unknown}. The core's own: {', '.join(OWN_RULES)}.{near}") from None


def _options_of(rule: Rule) -> str:
    try:
        names = [q for q in inspect.signature(rule).parameters if q not in ("model", "lr", "weight_decay")]
    except (TypeError, ValueError):
        return "what its documentation says"
    return f"the options {', '.join(names)}" if names else "no options"


def _check(groups: list[Any], model: nn.Module, label: str) -> None:
    names = {p: name for name, p in model.named_parameters() if p.requires_grad}
    counts: Counter[Any] = Counter()
    for group in groups:
        pairs = group.get("params") if isinstance(group, dict) else None
        if not isinstance(pairs, list) or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
            raise InvalidOption(
                f"groups={label} returned {group!r:.80}: a group is a dict with params=[(name, p), ...]"
            )
        counts.update(p for _, p in pairs)
    strange = [p for p in counts if p not in names]
    if strange:
        raise InvalidOption(f"groups={label} returned {strange[0]!r:.60}, which is no trainable parameter of the model")
    wrong = [(name, counts[p]) for p, name in names.items() if counts[p] != 1]
    if wrong:
        how = "left out" if wrong[0][1] == 0 else f"put into groups {wrong[0][1]} times"
        raise InvalidOption(f"groups={label}: {wrong[0][0]} was {how}; each trainable parameter belongs to one group")


# the core's own ---------------------------------------------------------------------------------------------------
def no_decay(model: nn.Module, *, lr: float | None = None, weight_decay: float | None = None) -> list[dict[str, Any]]:
    """No weight decay for biases, for all of fewer than two dimensions, and for what ``model.no_weight_decay()`` names.

    Source: the convention of timm's ``param_groups_weight_decay``.
    """
    del lr
    own: Any = getattr(model, "no_weight_decay", None)
    listed = set(own()) if callable(own) else set()
    decayed: list[Any] = []
    others: list[Any] = []
    for name, p in _trainable(model):
        is_other = p.ndim < 2 or name.endswith(".bias") or name in listed
        (others if is_other else decayed).append((name, p))
    why = "no decay: fewer than two dimensions, or named by the model"
    without = {} if weight_decay is None else {"weight_decay": 0.0, "why": why}
    return [group for group in ({"params": decayed}, {"params": others, **without}) if group["params"]]


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


OWN_RULES: Mapping[str, Rule] = {"no_decay": no_decay, "layerwise_decay": layerwise_decay, "mup": mup}
