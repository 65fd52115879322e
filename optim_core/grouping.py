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

from optim_core import group_rules
from optim_core.catalog.registry import load_addition, registry
from optim_core.catalog.strangers import described
from optim_core.errors import InvalidOption, UnknownName
from optim_core.names import did_you_mean, normalise

Rule: TypeAlias = Callable[..., Iterable[dict[str, Any]]]
GroupsChoice: TypeAlias = "str | tuple[str, Mapping[str, Any]] | Rule"

#: The core's own, by name.
OWN_RULES: Mapping[str, Rule] = {
    rule.__name__: rule
    for rule in (
        group_rules.no_decay,
        group_rules.layerwise_decay,
        group_rules.layer_decay,
        group_rules.lora_plus,
        group_rules.mup,
    )
}

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
