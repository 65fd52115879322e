"""What users of torch, timm and pytorch_optimizer type by habit, and what it is called here.

Every remedy is an expression that works where it is pasted; tests/test_habits.py carries each of them out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from optim_core.names import normalise

_FUSES = "leave it out: the engine fuses the whole step already; `optimizer.explain()` tells which one runs"
_BY_LAYER = (
    "optim_core.create_optimizer([{'params': list(layer.parameters()), 'lr': 1e-3 * 0.75**depth} "
    "for depth, layer in enumerate(reversed(list(model.children())))], 'adamw')"
)
_NO_DECAY = "optim_core.create_optimizer(model, 'adamw', no_decay=lambda name, module, p: 'bias' in name)"

#: Options that exist elsewhere, and the way to what they do.
OPTIONS: Mapping[str, str] = {
    "fused": _FUSES,
    "capturable": _FUSES,
    "compile": _FUSES,
    "differentiable": "leave it out: a step is not recorded by autograd here; torch's own can: "
    "optim_core.get('torch:adamw')",
    "caution": "it is a wrapper: optim_core.create_optimizer(model, 'adamw', wrappers=['cautious'])",
    "cautious": "it is a wrapper: optim_core.create_optimizer(model, 'adamw', wrappers=['cautious'])",
    "base_optimizer": "a wrapper goes around an optimizer that exists: "
    "optim_core.get_wrapper('sam')(optim_core.get('sgd')(model.parameters(), lr=0.1))",
    "wd_ban_list": f"biases and normalisation layers are left out already; for others: {_NO_DECAY}",
    "filter_bias_and_bn": "create_optimizer does it already; to decay everything: "
    "optim_core.create_optimizer(model, 'adamw', no_decay=None)",
    "layer_decay": f"give create_optimizer groups instead of the model, each with its lr: {_BY_LAYER}",
}

#: Functions that exist elsewhere, and the call that does the same.
FUNCTIONS: Mapping[str, str] = {
    "create_optimizer_v2": "optim_core.create_optimizer(model, 'adamw')",
    "get_optimizer_parameters": "optim_core.create_optimizer(model, 'adamw', weight_decay=0.01)",
    "param_groups_weight_decay": "optim_core.create_optimizer(model, 'adamw', weight_decay=0.01)",
    "param_groups_layer_decay": _BY_LAYER,
    "list_optimizers": "optim_core.get_supported_optimizers('adam*')",
    "get_optimizer_class": "optim_core.get('adamw')",
    "get_optimizer_info": "optim_core.info('adamw')",
    "load_lr_scheduler": "optim_core.get_scheduler('cosine')",
    "create_scheduler_v2": "optim_core.get_scheduler('cosine')",
    "wd_ban_list": _NO_DECAY,
    "layer_decay": _BY_LAYER,
}

#: What stands before a method's name elsewhere, and the wrapper that it means.
_PREFIXES = {"lookahead": "lookahead", "c": "cautious"}


def option_hint(name: str) -> str:
    """What to do about an option of another library; empty if it is not known as one."""
    way = OPTIONS.get(name)
    return f" Known from elsewhere: {way}." if way else ""


def composed_hint(name: str, is_optimizer: Callable[[str], bool]) -> str:
    """The composition that another library has under a name of its own (``cadamw``, ``lookahead_adamw``).

    Example:
        >>> composed_hint("cadamw", {"adamw"}.__contains__)
        " It is a composition here: optim_core.create_optimizer(model, 'adamw', wrappers=['cautious'])."
    """
    form = normalise(name)
    for prefix, wrapper in _PREFIXES.items():
        rest = form.removeprefix(prefix)
        if rest != form and is_optimizer(rest):
            call = f"optim_core.create_optimizer(model, {rest!r}, wrappers=[{wrapper!r}])"
            return f" It is a composition here: {call}."
    return ""
